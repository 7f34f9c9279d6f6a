//! The terminal: draws what the poller tells, and obeys keys. It is restored at the end, also after an error or a panic.

use std::{env, sync::mpsc, thread, time::Duration};

use anyhow::{Context, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{draw::draw, poll::Fleet, view::View};
use crate::{limits::TOP_KEY_WAIT, overview::Report};

/// What the terminal's thread is told.
enum Told {
    Report(Box<Report>),
    /// A signal asks to end.
    End,
}

/// Shows the gateways until a key or a signal ends it.
pub(super) fn run(fleet: Fleet, interval: Duration) -> anyhow::Result<()> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("poll".into()).spawn(move || poll(fleet, interval, &tell)).context("no thread")?;
    // Installs a hook that restores the terminal before a panic is printed.
    let terminal = ratatui::try_init().context("the terminal cannot be used");
    let ended = terminal.and_then(|mut terminal| show(&mut terminal, &told));
    let restored = ratatui::try_restore().context("the terminal cannot be restored");
    ended.and(restored)
}

fn poll(fleet: Fleet, interval: Duration, tell: &mpsc::Sender<Told>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let ended = async {
            let (mut terminate, mut hangup) = (signal(SignalKind::terminate()).ok()?, signal(SignalKind::hangup()).ok()?);
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            Some(())
        };
        let watch = fleet.watch(interval, |fleet| tell.send(Told::Report(Box::new(Report::of(&fleet.watched)))).is_ok());
        tokio::select! {
            () = watch => {}
            Some(()) = ended => drop(tell.send(Told::End)),
        }
    });
}

fn show(terminal: &mut DefaultTerminal, told: &mpsc::Receiver<Told>) -> anyhow::Result<()> {
    // https://no-color.org
    let has_colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut view = View { has_colours, ..View::default() };
    let mut is_changed = true;
    loop {
        if is_changed {
            terminal.draw(|frame| draw(frame, &view)).context("the terminal takes nothing")?;
        }
        is_changed = false;
        if event::poll(TOP_KEY_WAIT)? {
            is_changed = true;
            match event::read()? {
                Event::Key(key) if !view.obey(key) => return Ok(()),
                _ => {}
            }
        }
        loop {
            match told.try_recv() {
                Ok(Told::Report(report)) => {
                    view.take(*report);
                    is_changed = true;
                }
                Ok(Told::End) => return Ok(()),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => bail!("the polling has ended; this is a bug"),
            }
        }
    }
}
