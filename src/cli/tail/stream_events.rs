//! Splits a stream of server-sent events. Each event of this stream has its data on one line.

use std::ops::ControlFlow;

use anyhow::bail;

use crate::limits::WATCH_LINE_BYTES_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct StreamEvents {
    /// A line whose end is not there yet.
    begun: Vec<u8>,
    kind: String,
}

impl StreamEvents {
    /// Calls `visit` with the kind and the data of each event, until it breaks.
    pub(super) fn read(
        &mut self,
        piece: &[u8],
        mut visit: impl FnMut(&str, &str) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<ControlFlow<()>> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if self.begun.len() > WATCH_LINE_BYTES_MAX {
                bail!("the stream has a line that is too long; is it that of a gateway?");
            }
            if !part.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.begun);
            let Ok(line) = std::str::from_utf8(&line) else { bail!("the stream is not UTF-8; is it that of a gateway?") };
            match line.trim_end_matches(['\r', '\n']).split_once(": ") {
                Some(("event", kind)) => kind.clone_into(&mut self.kind),
                Some(("data", data)) if visit(&self.kind, data)?.is_break() => return Ok(ControlFlow::Break(())),
                // A comment, or the end of an event.
                _ => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_they_are_cut() {
        let text = ": watching\n\nevent: event\ndata: {\"é\":\": \"}\n\n: alive\n\nevent: end\ndata: {}\n\n";
        for length in 1..text.len() {
            let (mut events, mut found) = (StreamEvents::default(), Vec::new());
            for piece in text.as_bytes().chunks(length) {
                let flow = events.read(piece, |kind, data| {
                    found.push((kind.to_owned(), data.to_owned()));
                    Ok(ControlFlow::Continue(()))
                });
                assert!(flow.unwrap().is_continue());
            }
            assert_eq!(found, [("event".into(), "{\"é\":\": \"}".into()), ("end".to_owned(), "{}".to_owned())], "{length}");
        }
    }

    #[test]
    fn no_more_is_read_once_enough_is_found_and_a_line_has_a_limit() {
        let mut events = StreamEvents::default();
        let mut count = 0;
        let flow = events.read(b"event: event\ndata: 1\n\nevent: event\ndata: 2\n\n", |_, _| {
            count += 1;
            Ok(ControlFlow::Break(()))
        });
        assert!(flow.unwrap().is_break() && count == 1);
        let long = vec![b'x'; WATCH_LINE_BYTES_MAX + 1];
        assert!(StreamEvents::default().read(&long, |_, _| Ok(ControlFlow::Continue(()))).is_err());
    }
}
