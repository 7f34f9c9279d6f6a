//! `lakegate find`: where is my event?

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use uuid::Uuid;

use super::{
    admin_client,
    configuration::open_offline,
    dead_letters::runtime,
    gateways::{Asked, GatewayArgs},
    output_format::Format,
};
use crate::{
    find::{Acceptance, InLake, Status, Story},
    json::Visible,
};

#[derive(Debug, Args)]
pub(super) struct FindArgs {
    /// The event_uuid.
    event_uuid: Uuid,
    #[command(flatten)]
    gateways: GatewayArgs,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs the command. The exit code is 1 if no gateway has seen the event.
pub(super) fn run(args: &FindArgs) -> anyhow::Result<ExitCode> {
    let asked = args.gateways.asked()?;
    let stories = runtime()?.block_on(async {
        let mut stories = Vec::new();
        match asked {
            Asked::Running(gateways) => {
                for address in gateways {
                    let story: Story = admin_client::get_json(address, &format!("/admin/events/{}", args.event_uuid)).await?;
                    stories.push((address.to_string(), story));
                }
            }
            Asked::Offline(config) => {
                let offline = open_offline(&config).await?;
                let (finder, scopes) = (offline.finder(&config)?, offline.scopes());
                let story = tokio::task::block_in_place(|| finder.find(args.event_uuid, &scopes));
                drop(finder);
                offline.close().await;
                stories.push((config.data_dir.display().to_string(), story));
            }
        }
        anyhow::Ok(stories)
    })?;
    let out = &mut Visible::new(io::stdout().lock());
    match args.format {
        Format::Json if stories.len() == 1 => writeln!(out, "{}", serde_json::to_string_pretty(&stories[0].1)?)?,
        Format::Json => {
            let by_gateway: serde_json::Map<_, _> = stories
                .iter()
                .map(|(gateway, story)| Ok((gateway.clone(), serde_json::to_value(story)?)))
                .collect::<anyhow::Result<_>>()?;
            writeln!(out, "{:#}", serde_json::Value::Object(by_gateway))?;
        }
        Format::Table => {
            let is_fleet = stories.len() > 1;
            for (gateway, story) in &stories {
                if is_fleet {
                    writeln!(out, "{gateway}")?;
                }
                print(story, out)?;
            }
        }
    }
    out.flush()?;
    let is_seen = stories.iter().any(|(_, story)| !matches!(story.status, Status::NeverSeen | Status::Unknown));
    Ok(ExitCode::from(u8::from(!is_seen)))
}

fn print(story: &Story, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: {}", story.event_uuid, story.summary)?;
    for accepted in &story.accepted {
        print_accepted(accepted, out)?;
    }
    for again in &story.sent_again {
        let key = again.key.as_deref().unwrap_or("-");
        let times = if again.times == 1 { "once".to_owned() } else { format!("{} times", again.times) };
        writeln!(out, "  sent again   {times}, first {}, last {}, key {key}", again.first, again.last)?;
    }
    for letter in &story.rejected {
        let (received, code, key, state) = (&letter.received, &letter.code, &letter.key, &letter.state);
        writeln!(out, "  dead letter  {} {received} {code}, key {key}, {state}", letter.letter)?;
        writeln!(out, "               {} {}", letter.pointer, letter.detail)?;
    }
    story.in_lakes.iter().try_for_each(|row| print_row(row, out))?;
    story.problems.iter().try_for_each(|problem| writeln!(out, "  not looked into: {problem}"))
}

fn print_accepted(accepted: &Acceptance, out: &mut impl Write) -> io::Result<()> {
    let received = match (&accepted.received, &accepted.between) {
        (Some(received), _) => received.clone(),
        (None, Some((oldest, newest))) => format!("between {oldest} and {newest}"),
        (None, None) => "at an unknown time".to_owned(),
    };
    let (key, name) = (accepted.key.as_deref().unwrap_or("-"), accepted.event_name.as_deref().unwrap_or("-"));
    writeln!(out, "  accepted     {received}, key {key}, {name}")?;
    if let Some(letter) = &accepted.replayed_from {
        writeln!(out, "               replayed from dead letter {letter}")?;
    }
    if let Some(spool) = &accepted.spool {
        writeln!(out, "  spool        number {}, {}", spool.seq, if spool.is_there { "still there" } else { "no longer there" })?;
    }
    for sink in &accepted.sinks {
        let at = sink.at.as_deref().map_or(String::new(), |at| format!(" {at}"));
        let shard = sink.shard.as_deref().map_or(String::new(), |shard| format!(", shard {shard}"));
        writeln!(out, "  {:<12} {}{at}{shard}", sink.sink, sink.status)?;
        sink.rows.iter().flatten().try_for_each(|row| print_row(row, out))?;
    }
    Ok(())
}

fn print_row(row: &InLake, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "               {}: row group {}, row {}", row.file, row.row_group, row.row)
}
