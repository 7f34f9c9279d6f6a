//! `lakegate tail`: shows events as they come in, with their outcomes.
//!
//! A stream of the running gateway (`/admin/tail`) is read and printed: events on standard output, and on standard error how much
//! of the traffic they are, and when the stream ends and begins again. Nothing is read from disk.

mod print;
mod stream_events;

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    ops::ControlFlow,
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{sleep, timeout};

use super::{
    admin_client::{self, NotNow, Stream},
    configuration::PlaceArgs,
    dead_letters::runtime,
    failure::notice,
    health::reachable,
};
use crate::{
    app::{admin_address, is_running},
    clock::unit_seconds,
    config::Config,
    limits::{WATCH_RATE, WATCH_RETRY_INTERVAL, WATCH_SILENCE_MAX},
};
use print::{Form, Printer};
use stream_events::StreamEvents;

/// Options of `lakegate tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Address of the running gateway for operators [default: the one noted in the data folder].
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Only events of this name: `menu:*` is any that begins so, `?` any character. Can be repeated.
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,
    /// Only events of this key; patterns as for --event. Can be repeated.
    #[arg(long = "key", value_name = "NAME")]
    keys: Vec<String>,
    /// Only events with this outcome. Can be repeated.
    #[arg(long = "outcome", value_name = "OUTCOME", value_parser = ["accepted", "duplicate", "rejected", "retry"])]
    outcomes: Vec<String>,
    /// Only rejected events: as --outcome rejected.
    #[arg(long)]
    rejected: bool,
    /// Events a second that are shown at most; of more a fair sample is shown.
    #[arg(long, default_value_t = WATCH_RATE, value_name = "N")]
    rate: u32,
    /// Print each event as one line of JSON, with its payload.
    #[arg(long)]
    json: bool,
    /// Stop after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after a time, such as 30s, 5m or 1h.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
}

fn time(text: &str) -> Result<Duration, String> {
    let at = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(at);
    let seconds = number.parse::<u64>().ok().zip(unit_seconds(unit)).and_then(|(number, unit)| number.checked_mul(unit.into()));
    seconds.map(Duration::from_secs).ok_or_else(|| "30s, 5m, 1h and 7d are times".to_owned())
}

/// Prints events until enough are printed, the time is over, or the user ends it.
pub(super) fn run(args: &TailArgs) -> anyhow::Result<ExitCode> {
    let config = args.place.config()?;
    let form = match args.json {
        true => Form::Json,
        false => Form::of_terminal(io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref()),
    };
    let (source, mut printer) = (Source { config, admin: args.admin, path: path(args) }, Printer::new(form, args.count));
    let limit = args.time;
    let runtime = runtime()?;
    let ended = runtime.block_on(async move {
        let following = tokio::spawn(async move {
            let ended = match limit {
                Some(limit) => timeout(limit, source.follow(&mut printer)).await.unwrap_or(Ok(())),
                None => source.follow(&mut printer).await,
            };
            printer.tell_what_is_left_out();
            ended
        });
        tokio::select! {
            ended = following => ended?,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    });
    // A reader of the pipe that reads nothing holds up nobody.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// The question, as the address of a request.
fn path(args: &TailArgs) -> String {
    let mut path = format!("/admin/tail?rate={}", args.rate);
    let rejected = args.rejected.then(|| "rejected".to_owned());
    let outcomes = args.outcomes.iter().chain(&rejected);
    for (name, values) in
        [("event", args.events.iter().collect::<Vec<_>>()), ("key", args.keys.iter().collect()), ("outcome", outcomes.collect())]
    {
        for value in values {
            path.extend(["&", name, "="]);
            path.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
    }
    path
}

/// Where the events come from.
struct Source {
    config: Config,
    admin: Option<SocketAddr>,
    path: String,
}

impl Source {
    /// The address of the running gateway for operators.
    fn address(&self) -> anyhow::Result<SocketAddr> {
        let Self { config, admin, .. } = self;
        if let Some(address) = *admin {
            return Ok(reachable(address));
        }
        let folder = config.data_dir.display();
        if !is_running(&config.data_dir)? {
            bail!("no gateway runs on {folder}; name its data folder, or its address for operators with --admin");
        }
        let configured = (config.admin.listen.port() != 0).then_some(config.admin.listen);
        match admin_address(&config.data_dir).or(configured) {
            Some(address) => Ok(reachable(address)),
            None => bail!("a gateway runs on {folder}; name its address for operators with --admin"),
        }
    }

    /// Reads the stream, and begins again if it ends.
    async fn follow(&self, printer: &mut Printer) -> anyhow::Result<()> {
        let first = self.address()?;
        let mut stream = match admin_client::stream(first, &self.path).await? {
            Ok(stream) => stream,
            Err(NotNow(reason)) => bail!("{reason}"),
        };
        if io::stderr().is_terminal() {
            notice(&format!("watching {first}; Ctrl-C ends it"));
        }
        while let Some(reason) = read(stream, printer).await? {
            printer.tell_what_is_left_out();
            notice(&format!("{reason}; waiting for the gateway"));
            stream = loop {
                sleep(WATCH_RETRY_INTERVAL).await;
                let Ok(address) = self.address() else { continue };
                if let Ok(stream) = admin_client::stream(address, &self.path).await? {
                    notice(&format!("watching {address} again; what came in between is not shown"));
                    break stream;
                }
            };
        }
        Ok(())
    }
}

/// Prints what comes. Returns why no more comes; `None` if enough is printed.
async fn read(mut stream: Stream, printer: &mut Printer) -> anyhow::Result<Option<&'static str>> {
    let mut events = StreamEvents::default();
    loop {
        let piece = match timeout(WATCH_SILENCE_MAX, stream.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None | Some(Err(_))) => return Ok(Some("the stream ended")),
            Err(_) => return Ok(Some("nothing comes any more")),
        };
        let mut is_stopping = false;
        let flow = events.read(&piece, |kind, data| {
            is_stopping |= kind == "end";
            printer.print(kind, data)
        })?;
        printer.flush()?;
        match flow {
            ControlFlow::Break(()) => return Ok(None),
            ControlFlow::Continue(()) if is_stopping => return Ok(Some("the gateway stops")),
            ControlFlow::Continue(()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tail: TailArgs,
    }

    fn parsed(words: &[&str]) -> Result<TailArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("tail").chain(words.iter().copied())).map(|line| line.tail)
    }

    #[test]
    fn the_question_is_in_the_address_whatever_is_in_it() {
        let args = parsed(&[
            "--event",
            "menu:*",
            "--event",
            "a&b=c d",
            "--key",
            "web",
            "--rejected",
            "--outcome",
            "retry",
            "--rate",
            "7",
        ]);
        let expected = "/admin/tail?rate=7&event=menu%3A%2A&event=a%26b%3Dc%20d&key=web&outcome=retry&outcome=rejected";
        assert_eq!(path(&args.unwrap()), expected);
        assert_eq!(path(&parsed(&[]).unwrap()), "/admin/tail?rate=50");
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(parsed(&["--for", "5m"]).unwrap().time, Some(Duration::from_secs(300)));
        for wrong in ["", "30", "s", "-1s", "1.5s", "3é", "99999999999999999999s"] {
            assert!(parsed(&[&format!("--for={wrong}")]).is_err(), "{wrong}");
        }
        assert!(parsed(&["--count", "0"]).is_err() && parsed(&["--outcome", "refused"]).is_err());
    }
}
