//! Reads letters on a separate thread, and passes them on in batches of one source.

use std::{io, ops::ControlFlow, sync::Arc};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use super::request::Letters;
use crate::{
    dead_letters::{Archive, Filter, Found, LetterId, Survey},
    limits::{REPLAY_BYTES, REPLAY_LETTERS},
};

/// A letter, with the data that a replay needs.
pub(super) struct Taken {
    pub(super) id: LetterId,
    pub(super) event_uuid: Option<String>,
    pub(super) event_name: Option<String>,
    pub(super) code: String,
    /// The sink that refused it, if there are several.
    pub(super) sink: Option<String>,
    pub(super) received_datetime: String,
    pub(super) received_millis: i64,
    pub(super) raw: Vec<u8>,
    /// Whether only the beginning of the event was stored, so that `raw` is empty.
    pub(super) is_cut: bool,
}

/// Letters of one source that lie in one folder.
pub(super) struct Batch {
    pub(super) folder: String,
    pub(super) source: Arc<str>,
    pub(super) letters: Vec<Taken>,
    bytes: usize,
}

impl Taken {
    fn of(found: &Found<'_>) -> Option<Self> {
        let is_cut = found.letter.raw_bytes.is_some();
        Some(Self {
            id: found.id(),
            event_uuid: found.letter.event_uuid.as_deref().map(str::to_owned),
            event_name: found.letter.event_name.as_deref().map(str::to_owned),
            code: found.letter.code.clone().into_owned(),
            sink: found.letter.sink.as_deref().map(str::to_owned),
            received_datetime: found.letter.received_datetime.clone().into_owned(),
            received_millis: found.letter.received_millis()?,
            raw: if is_cut { Vec::new() } else { found.letter.raw()? },
            is_cut,
        })
    }
}

/// Reads the letters that `filter` selects. Ends when the receiver is dropped.
pub(super) fn feed(
    archive: Archive,
    filter: Filter,
    letters: Letters,
) -> (mpsc::Receiver<Batch>, JoinHandle<io::Result<Survey>>) {
    let (sender, receiver) = mpsc::channel(1);
    let reading = spawn_blocking(move || {
        let mut unusable = 0;
        let mut batch: Option<Batch> = None;
        let mut visit = |found: &Found<'_>| {
            let Some(taken) = Taken::of(found) else {
                unusable += 1;
                return ControlFlow::Continue(());
            };
            let fits = |batch: &Batch| {
                batch.folder == found.folder
                    && *batch.source == *found.letter.source
                    && batch.letters.len() < REPLAY_LETTERS
                    && batch.bytes + taken.raw.len() <= REPLAY_BYTES
            };
            if let Some(full) = batch.take_if(|batch| !fits(batch))
                && sender.blocking_send(full).is_err()
            {
                return ControlFlow::Break(());
            }
            let batch = batch.get_or_insert_with(|| Batch {
                folder: found.folder.to_owned(),
                source: (&*found.letter.source).into(),
                letters: Vec::new(),
                bytes: 0,
            });
            batch.bytes += taken.raw.len();
            batch.letters.push(taken);
            ControlFlow::Continue(())
        };
        let survey = match &letters {
            Letters::Kept => archive.visit(&filter, &mut visit),
            Letters::Given(lines) => archive.visit_given(lines, &filter, &mut visit),
        };
        if let Some(last) = batch {
            let _ = sender.blocking_send(last);
        }
        survey.map(|survey| Survey { unreadable_lines: survey.unreadable_lines + unusable })
    });
    (receiver, reading)
}
