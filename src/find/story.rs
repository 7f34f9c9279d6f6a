//! The answer: what happened to one event.

use serde::{Deserialize, Serialize};

/// What happened to the events with one `event_uuid`. Times are RFC 3339, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// The `event_uuid`.
    pub event_uuid: String,
    /// In one word.
    pub status: Status,
    /// In one sentence.
    pub summary: String,
    /// Each time that an event with it was accepted: usually once. In the scopes of several browser keys, or after a replay, more
    /// than once.
    pub accepted: Vec<Acceptance>,
    /// How often it was sent again and answered `duplicate`, if it was.
    pub sent_again: Vec<SentAgain>,
    /// Its dead letters.
    pub rejected: Vec<Rejection>,
    /// Rows of lakes that belong to none of `accepted`: accepted longer ago than the window remembers, or by another gateway.
    pub in_lakes: Vec<InLake>,
    /// Since when each place would know of it.
    pub known_since: KnownSince,
    /// What could not be looked into, and why.
    pub problems: Vec<String>,
}

/// See [`Story::status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every sink has it.
    Delivered,
    /// Accepted, and on its way to a sink.
    Spooled,
    /// Accepted, and refused by a sink; it is in the dead letters.
    Refused,
    /// Accepted, and lost by the disk.
    Lost,
    /// Accepted, and dropped for a sink that may drop.
    Dropped,
    /// Accepted, and erased.
    Erased,
    /// Accepted; how it ended is not known any more.
    Accepted,
    /// Not valid; it is in the dead letters.
    Rejected,
    /// Nothing knows it.
    #[default]
    NeverSeen,
    /// Nothing that can be read knows it, but something cannot be read.
    Unknown,
}

/// An event that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// When it was received, as exactly as known.
    pub received: Option<String>,
    /// If that is not known: it was accepted between these times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<(String, String)>,
    /// The key that sent it.
    pub key: Option<String>,
    /// Its event name.
    pub event_name: Option<String>,
    /// The dead letter that it was replayed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed_from: Option<String>,
    /// Its place in the spool.
    pub spool: Option<InSpool>,
    /// Each sink.
    pub sinks: Vec<InSink>,
}

/// Where an event is, or was, in the spool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSpool {
    /// Its number.
    pub seq: u64,
    /// Whether it is still there.
    pub is_there: bool,
}

/// What one sink made of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSink {
    /// The name of the sink.
    pub sink: String,
    /// `delivered`, `refused`, `lost`, `erased`, `skipped`, `dropped`, or `spooled`.
    pub status: String,
    /// When.
    pub at: Option<String>,
    /// The shard of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Its rows in a lake. None for a delivered event of a lake: it was erased there, or has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<InLake>>,
}

/// A row of a lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InLake {
    /// The name of the sink.
    pub sink: String,
    /// The file, below the root of the lake.
    pub file: String,
    /// The row group in the file, from 0.
    pub row_group: u64,
    /// The row in the file, from 0.
    pub row: u64,
    /// The event name.
    pub event_name: String,
    /// The key.
    pub key: String,
    /// When it was received.
    pub received: String,
}

/// How often an event was sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAgain {
    /// How often.
    pub times: u64,
    /// For the first time.
    pub first: String,
    /// For the last time.
    pub last: String,
    /// By this key, the last time.
    pub key: Option<String>,
}

/// A dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The name of the letter, for `lakegate dead-letters show`.
    pub letter: String,
    /// When the event was received.
    pub received: String,
    /// The key that sent it.
    pub key: String,
    /// Its event name, if readable.
    pub event_name: Option<String>,
    /// The code.
    pub code: String,
    /// Why.
    pub detail: String,
    /// Where in the event.
    pub pointer: String,
    /// `open`, or `repaired`: replayed and stored.
    pub state: String,
    /// How often the event was rejected again.
    pub repeats: u64,
}

/// Since when each place would know of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSince {
    /// The dedup window: whether it was accepted.
    pub window: Option<String>,
    /// The ledger: by which key, and how it ended.
    pub ledger: Option<String>,
}

impl Story {
    /// Sets the word and the sentence from the rest.
    pub(super) fn conclude(&mut self) {
        self.status = self.word();
        let first = self.accepted.first();
        let key = first.and_then(|accepted| accepted.key.as_deref()).map_or(String::new(), |key| format!(" from key {key}"));
        let when = first.and_then(|accepted| accepted.received.as_deref()).map_or(String::new(), |at| format!(" at {at}"));
        let sinks = |status: &str| {
            let sinks = first.map_or(&[][..], |accepted| &accepted.sinks).iter().filter(|sink| sink.status == status);
            sinks.map(|sink| &*sink.sink).collect::<Vec<_>>().join(", ")
        };
        let accepted = format!("accepted{key}{when}");
        let mut summary = match self.status {
            Status::Delivered if self.accepted.is_empty() => {
                "in the lake; it was accepted before the window's memory, or by another gateway".to_owned()
            }
            Status::Delivered => format!("{accepted}, and delivered to {}", sinks("delivered")),
            Status::Spooled => format!("{accepted}; it is in the spool, on its way to {}", sinks("spooled")),
            Status::Refused => format!("{accepted}; {} refused it, see the dead letter", sinks("refused")),
            Status::Lost => {
                format!("{accepted}; the disk lost it before {} had it, see `lakegate spool quarantine list`", sinks("lost"))
            }
            Status::Dropped => format!("{accepted}; dropped for {}, whose part of the spool was full", sinks("dropped")),
            Status::Erased => format!("{accepted}; it was delivered or waited, and it is not there any more: erased or expired"),
            Status::Accepted => format!("{accepted}; how it ended is not known any more"),
            Status::Rejected => {
                let letter = self.rejected.first();
                letter.map_or_else(String::new, |letter| {
                    format!("rejected at {} from key {}: {} {}", letter.received, letter.key, letter.code, letter.detail)
                })
            }
            Status::NeverSeen => {
                let since = self.known_since.window.as_deref().unwrap_or("the first start");
                format!("never seen: it was not accepted since {since}, it is not in the dead letters, and no lake has it")
            }
            Status::Unknown => "nothing that can be read knows it; see `problems`".to_owned(),
        };
        let again: u64 = self.sent_again.iter().map(|again| again.times).sum();
        if again > 0 {
            let times = if again == 1 { "once".to_owned() } else { format!("{again} times") };
            summary.push_str(&format!("; sent again and answered `duplicate` {times}"));
        }
        self.summary = summary;
    }

    fn word(&self) -> Status {
        let Some(newest) = self.accepted.last() else {
            return match () {
                () if !self.in_lakes.is_empty() => Status::Delivered,
                () if !self.rejected.is_empty() => Status::Rejected,
                () if !self.problems.is_empty() => Status::Unknown,
                () => Status::NeverSeen,
            };
        };
        let has = |status: &str| newest.sinks.iter().any(|sink| sink.status == status);
        let is_gone = newest.sinks.iter().any(|sink| sink.status == "delivered" && sink.rows.as_ref().is_some_and(Vec::is_empty));
        match () {
            () if has("lost") => Status::Lost,
            () if has("refused") => Status::Refused,
            () if has("spooled") => Status::Spooled,
            () if has("erased") || is_gone => Status::Erased,
            () if has("dropped") => Status::Dropped,
            () if has("delivered") => Status::Delivered,
            () => Status::Accepted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(sinks: &[(&str, &str)]) -> Story {
        let sinks =
            sinks.iter().map(|(sink, status)| InSink { sink: (*sink).into(), status: (*status).into(), ..InSink::default() });
        let mut story = Story {
            accepted: vec![Acceptance { key: Some("web".into()), sinks: sinks.collect(), ..Acceptance::default() }],
            ..Story::default()
        };
        story.conclude();
        story
    }

    #[test]
    fn the_worst_that_happened_is_the_word_for_it() {
        for (sinks, word) in [
            (&[("lake", "delivered")][..], Status::Delivered),
            (&[("lake", "delivered"), ("kinesis", "spooled")], Status::Spooled),
            (&[("lake", "refused"), ("kinesis", "spooled")], Status::Refused),
            (&[("lake", "delivered"), ("kinesis", "lost")], Status::Lost),
            (&[("lake", "erased")], Status::Erased),
            (&[("lake", "delivered"), ("archive", "dropped")], Status::Dropped),
            (&[], Status::Accepted),
        ] {
            assert_eq!(story(sinks).status, word, "{sinks:?}");
        }
        let mut never = Story::default();
        never.conclude();
        assert_eq!(never.status, Status::NeverSeen);
        never.problems.push("the lake cannot be read".into());
        never.conclude();
        assert_eq!(never.status, Status::Unknown, "what cannot be read may know it");
    }

    #[test]
    fn a_delivered_event_that_no_row_has_is_not_there_any_more() {
        let mut gone = story(&[("lake", "delivered")]);
        gone.accepted[0].sinks[0].rows = Some(Vec::new());
        gone.conclude();
        assert_eq!(gone.status, Status::Erased);
        gone.accepted[0].sinks[0].rows = Some(vec![InLake::default()]);
        gone.sent_again.push(SentAgain { times: 3, ..SentAgain::default() });
        gone.conclude();
        assert_eq!(gone.status, Status::Delivered);
        assert!(gone.summary.ends_with("sent again and answered `duplicate` 3 times"), "{}", gone.summary);
    }
}
