//! Asks each place.

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
    time::{Instant, SystemTime},
};

use uuid::Uuid;

use super::story::{Acceptance, InLake, InSink, InSpool, Rejection, SentAgain, Story};
use crate::{
    dead_letters::{Filter, Found, State},
    dedup::{Doubt, LookUp, Place},
    event::{Date, Record, iso_millis, millis_of_iso, unix_millis},
    ingest::Ingest,
    ledger::AcceptedEvent,
    progress::Settlement,
    sink::lake::{Hints, KeptLake, Located},
};

/// A lake that the gateway delivers to.
#[derive(Debug)]
pub struct FinderLake {
    /// The name of the sink.
    pub sink: String,
    /// The lake.
    pub lake: KeptLake,
}

/// Finds single events.
pub struct Finder {
    /// The pipeline, with everything that it knows.
    pub ingest: Arc<Ingest>,
    /// The names of the sinks, in order.
    pub sinks: Vec<String>,
    /// Those of them that are lakes.
    pub lakes: Vec<FinderLake>,
}

/// Milliseconds by which the time of receipt of a row may differ from what the ledger knows.
/// Why: none is expected; the log's statistics are rounded to milliseconds.
const RECEIPT_SLACK_MILLIS: i64 = 1;

impl Finder {
    /// Everything that is known of `event_uuid`; `scopes` are the keys whose identities are scoped. Blocks on the disk, and on the
    /// store of the lakes.
    #[must_use]
    pub fn find(&self, event_uuid: Uuid, scopes: &[String]) -> Story {
        let mut story = Story { event_uuid: event_uuid.to_string(), ..Story::default() };
        self.look_into_dead_letters(event_uuid, &mut story);
        let secret = self.ingest.scopes.secret();
        let scoped = scopes.iter().map(|scope| (secret.identity(event_uuid, Some(scope)), None));
        // An event that a sink had refused was replayed under the name of its letter.
        let replayed = story.rejected.iter().filter(|letter| letter.code == "refused_by_sink");
        let replayed = replayed.filter_map(|letter| Some((letter.letter.parse().ok()?, Some(letter.letter.clone()))));
        let ids: Vec<(Uuid, Option<String>)> =
            std::iter::once((secret.identity(event_uuid, None), None)).chain(scoped).chain(replayed).collect();
        let answers = self.ingest.dedup.look_up(&ids.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        // The window's clock stands still while no gateway runs.
        let offset = unix_millis(SystemTime::now()) - self.ingest.dedup.clock().millis_at(Instant::now());
        for ((identity, letter), answer) in ids.into_iter().zip(answers) {
            match answer {
                LookUp::Known(known) => {
                    let between = (known.oldest_millis + offset, known.newest_millis + offset);
                    let accepted = self.accepted(event_uuid, known.place, between, letter.as_deref(), &mut story);
                    story.accepted.push(accepted);
                    match self.ingest.ledger.repeats(identity) {
                        Ok(Some(repeats)) => story.sent_again.push(SentAgain {
                            times: repeats.times,
                            first: time(repeats.first_millis),
                            last: time(repeats.last_millis),
                            key: repeats.key.map(Into::into),
                        }),
                        Ok(None) => {}
                        Err(error) => story.problems.push(format!("the ledger: {error}")),
                    }
                }
                LookUp::InFlight => story.problems.push("it is being stored at this moment; ask again".to_owned()),
                LookUp::Unknown => {}
                LookUp::CannotTell(doubt) => story.problems.push(format!("the dedup window: {}", why(doubt))),
            }
        }
        if story.accepted.is_empty() {
            self.look_into_losses(event_uuid, &mut story);
        }
        self.look_into_lakes(event_uuid, &mut story);
        story.known_since.window = Some(time(self.ingest.dedup.known_since_millis() + offset));
        story.known_since.ledger = self.ingest.ledger.first_event().ok().flatten().map(|(_, millis)| time(millis));
        story.accepted.sort_by(|one, other| one.received.cmp(&other.received));
        story.problems.sort();
        story.problems.dedup();
        story.conclude();
        story
    }

    /// An event that the disk lost before its identity was on disk is known by the list of losses alone.
    fn look_into_losses(&self, event_uuid: Uuid, story: &mut Story) {
        let losses = self.ingest.spool.losses();
        let lost = losses.iter().flat_map(|loss| &loss.probable_events).find(|lost| lost.event_uuid == event_uuid);
        if let Some(lost) = lost {
            let now = unix_millis(SystemTime::now());
            let accepted = self.accepted(event_uuid, Place::At(lost.seq), (0, now), None, story);
            story.accepted.push(accepted);
        }
    }

    fn look_into_dead_letters(&self, event_uuid: Uuid, story: &mut Story) {
        let conditions = [format!("event_uuid={event_uuid}"), "state=any".to_owned()];
        let Ok(filter) = Filter::parse(&conditions, 0) else { return };
        let visited = self.ingest.dead_letters.archive().visit(&filter, &mut |found: &Found<'_>| {
            let letter = &found.letter;
            story.rejected.push(Rejection {
                letter: found.id().to_string(),
                received: letter.received_datetime.clone().into_owned(),
                key: letter.source.clone().into_owned(),
                event_name: letter.event_name.clone().map(Into::into),
                code: letter.code.clone().into_owned(),
                detail: letter.detail.clone().into_owned(),
                pointer: letter.pointer.clone().into_owned(),
                state: if found.state == State::Open { "open" } else { "repaired" }.to_owned(),
                repeats: found.repeats,
            });
            ControlFlow::Continue(())
        });
        if let Err(error) = visited {
            story.problems.push(format!("the dead letters: {error}"));
        }
    }

    /// What is known of an accepted event.
    fn accepted(
        &self,
        event_uuid: Uuid,
        place: Place,
        (oldest, newest): (i64, i64),
        replayed_from: Option<&str>,
        story: &mut Story,
    ) -> Acceptance {
        let unknown = Acceptance {
            between: Some((time(oldest), time(newest))),
            replayed_from: replayed_from.map(str::to_owned),
            ..Acceptance::default()
        };
        let Place::At(seq) = place else { return unknown };
        let record = self.spooled(seq, event_uuid);
        let known = match self.ingest.ledger.accepted_event(seq) {
            Ok(known) => known,
            Err(error) => {
                story.problems.push(format!("the ledger: {error}"));
                None
            }
        };
        let spool = Some(InSpool { seq, is_there: record.is_some() });
        let mut acceptance = Acceptance { spool, ..unknown };
        if let Some(known) = &known {
            acceptance.received = Some(time(known.received_millis));
            acceptance.key = known.key.as_deref().map(Into::into);
            acceptance.event_name = known.event_name.as_deref().map(Into::into);
        }
        if let Some(record) = &record {
            let envelope = record.envelope();
            acceptance.received = Some(time(envelope.received_millis));
            acceptance.key = Some(envelope.source.to_owned());
            acceptance.event_name = Some(envelope.event_name.as_str().to_owned());
        }
        if acceptance.received.is_some() {
            acceptance.between = None;
        }
        acceptance.sinks =
            self.sinks.iter().enumerate().map(|(index, sink)| self.in_sink(index, sink, seq, known.as_ref())).collect();
        acceptance
    }

    /// The record of the event, while it is in the spool.
    fn spooled(&self, seq: u64, event_uuid: Uuid) -> Option<Record> {
        let batch = self.ingest.spool.reader(seq).that_only_looks().read_until(seq + 1, 1, usize::MAX).ok()?;
        let frame = batch.frames.into_iter().find(|frame| frame.seq == seq)?;
        Record::decode(frame.body).ok().filter(|record| record.event_uuid() == event_uuid)
    }

    fn in_sink(&self, index: usize, sink: &str, seq: u64, known: Option<&AcceptedEvent>) -> InSink {
        let settled = known.and_then(|known| known.settled.iter().find(|settled| &*settled.sink == sink));
        let progress = self.ingest.progress.sinks().get(index);
        let status = match (settled, progress.map(|progress| progress.is_settled(seq))) {
            (Some(settled), _) => settled.settlement.as_str(),
            (None, Some(false)) => "spooled",
            // The ledger has forgotten it, or a gateway without a ledger delivered it.
            (None, _) => Settlement::Delivered.as_str(),
        };
        InSink {
            sink: sink.to_owned(),
            status: status.to_owned(),
            at: settled.map(|settled| time(settled.at_millis)),
            shard: settled.and_then(|settled| settled.place.as_deref().map(Into::into)),
            rows: None,
        }
    }

    /// Finds the rows in the lakes: near what is known of it, or anywhere if nothing is.
    fn look_into_lakes(&self, event_uuid: Uuid, story: &mut Story) {
        for lake in &self.lakes {
            let is_there = |accepted: &Acceptance| {
                let in_lake = accepted.sinks.iter().find(|sink| sink.sink == lake.sink);
                accepted.sinks.is_empty() || in_lake.is_some_and(|sink| sink.status == "delivered")
            };
            if !story.accepted.is_empty() && !story.accepted.iter().any(is_there) {
                continue;
            }
            let hints = hints(&story.accepted);
            let located = lake.lake.newest().and_then(|open| open.find_near(event_uuid, &hints));
            let near = match located {
                Ok(near) => near,
                // A lake that nothing was delivered to yet.
                Err(_) if lake.is_missing() => continue,
                Err(error) => {
                    story.problems.push(format!("the lake of the sink {}: {error}", lake.sink));
                    continue;
                }
            };
            story.problems.extend(near.left_out.iter().map(|file| format!("{}: {}", file.file, file.reason)));
            let mut rows: Vec<InLake> = near.rows.iter().map(|row| in_lake(&lake.sink, row)).collect();
            for accepted in &mut story.accepted {
                let Some(sink) = accepted.sinks.iter_mut().find(|sink| sink.sink == lake.sink && sink.status == "delivered")
                else {
                    continue;
                };
                let is_its = |row: &InLake| accepted.received.as_ref() == Some(&row.received);
                let (its, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_its);
                (sink.rows, rows) = (Some(its), others);
            }
            story.in_lakes.extend(rows);
        }
    }
}

impl FinderLake {
    fn is_missing(&self) -> bool {
        !self.lake.root().contains("://") && !std::path::Path::new(self.lake.root()).exists()
    }
}

/// What narrows the search in a lake.
fn hints(accepted: &[Acceptance]) -> Hints {
    let received: Vec<i64> = accepted.iter().filter_map(|accepted| millis_of_iso(accepted.received.as_deref()?)).collect();
    if received.is_empty() || received.len() < accepted.len() {
        return Hints::default();
    }
    let (first, last) = (received.iter().min().copied().unwrap_or(0), received.iter().max().copied().unwrap_or(0));
    let names: Vec<&str> = accepted.iter().filter_map(|accepted| accepted.event_name.as_deref()).collect();
    let name = names.first().filter(|first| names.len() == accepted.len() && names.iter().all(|name| name == *first));
    Hints {
        event_type: name.and_then(|name| name.split(':').next()).map(str::to_owned),
        event_name: name.map(|name| (*name).to_owned()),
        received_millis: Some(Range { start: first - RECEIPT_SLACK_MILLIS, end: last + RECEIPT_SLACK_MILLIS + 1 }),
        created_dates: Vec::<Date>::new(),
    }
}

fn in_lake(sink: &str, row: &Located) -> InLake {
    InLake {
        sink: sink.to_owned(),
        file: row.file.clone(),
        row_group: row.row_group,
        row: row.row,
        event_name: row.event_name.clone(),
        key: row.source.clone(),
        received: time(row.received_millis),
    }
}

fn time(millis: i64) -> String {
    iso_millis(millis).as_str().to_owned()
}

fn why(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::PageUnreadable => "a page that may know it cannot be read at the moment",
        Doubt::PageDamaged => "a page that may know it is damaged",
        Doubt::RunsSetAside => "files that may know it were set aside because they are damaged",
    }
}
