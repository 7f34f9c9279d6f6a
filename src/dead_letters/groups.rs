//! Counts letters with the same fault together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::limits::DEAD_LETTER_GROUPS_MAX;

/// The data of one letter for its group.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Name of the event, if readable.
    pub event_name: Option<&'a str>,
    /// Version of the schema that validated the event.
    pub schema_version: Option<u32>,
    /// Why it was rejected.
    pub code: &'a str,
    /// JSON pointer to the fault.
    pub pointer: &'a str,
    /// Name of the key that sent it.
    pub source: &'a str,
    /// When it was received.
    pub received_datetime: &'a str,
    /// Identity of the event, if readable.
    pub event_uuid: Option<&'a str>,
    /// The reason, for a person.
    pub detail: &'a str,
    /// How often its event was rejected again, without another letter.
    pub repeats: u64,
    /// When that was for the last time.
    pub last_repeated: Option<&'a str>,
}

/// Letters with the same event name, version, code, pointer and source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Number of letters.
    pub count: u64,
    /// See [`Member`].
    pub event_name: Option<String>,
    /// See [`Member`].
    pub schema_version: Option<u32>,
    /// See [`Member`].
    pub code: String,
    /// See [`Member`].
    pub pointer: String,
    /// See [`Member`].
    pub source: String,
    /// The earliest time.
    pub first_received: String,
    /// The latest time.
    pub last_received: String,
    /// How often events of these letters were rejected again, without another letter.
    #[serde(default)]
    pub repeats: u64,
    /// When that was for the last time.
    #[serde(default)]
    pub last_repeated: Option<String>,
    /// Identity of one of the events.
    pub example_event_uuid: Option<String>,
    /// The reason of that letter.
    pub example_detail: String,
}

/// All groups, and how many letters are in none because there were too many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouped {
    /// Letters in total.
    pub letters: u64,
    /// The largest first.
    pub groups: Vec<Group>,
    /// Letters without a group: clients choose names and pointers, and the number of groups is limited.
    pub ungrouped: u64,
}

/// Collects groups.
#[derive(Debug, Default)]
pub struct Groups {
    by_key: HashMap<String, Group>,
    key: String,
    letters: u64,
    ungrouped: u64,
}

impl Groups {
    /// Counts a letter.
    pub fn add(&mut self, member: &Member<'_>) {
        self.letters += 1;
        self.key.clear();
        // Only a malicious client uses this separator unescaped; then two groups become one.
        let version = member.schema_version.map(|version| version.to_string());
        let name = member.event_name.map(|name| ["+", name].concat());
        let texts = [name.as_deref(), version.as_deref(), Some(member.code), Some(member.pointer), Some(member.source)];
        for text in texts {
            self.key.push_str(text.unwrap_or_default());
            self.key.push('\u{1f}');
        }
        if let Some(group) = self.by_key.get_mut(&self.key) {
            group.count += 1;
            group.repeats += member.repeats;
            if member.last_repeated > group.last_repeated.as_deref() {
                group.last_repeated = member.last_repeated.map(str::to_owned);
            }
            if *member.received_datetime < *group.first_received {
                member.received_datetime.clone_into(&mut group.first_received);
            }
            if *member.received_datetime > *group.last_received {
                member.received_datetime.clone_into(&mut group.last_received);
            }
            if group.example_event_uuid.is_none() {
                group.example_event_uuid = member.event_uuid.map(str::to_owned);
            }
        } else if self.by_key.len() < DEAD_LETTER_GROUPS_MAX {
            self.by_key.insert(
                self.key.clone(),
                Group {
                    count: 1,
                    event_name: member.event_name.map(str::to_owned),
                    schema_version: member.schema_version,
                    code: member.code.to_owned(),
                    pointer: member.pointer.to_owned(),
                    source: member.source.to_owned(),
                    first_received: member.received_datetime.to_owned(),
                    last_received: member.received_datetime.to_owned(),
                    repeats: member.repeats,
                    last_repeated: member.last_repeated.map(str::to_owned),
                    example_event_uuid: member.event_uuid.map(str::to_owned),
                    example_detail: member.detail.to_owned(),
                },
            );
        } else {
            self.ungrouped += 1;
        }
    }

    /// Letters counted so far.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.letters
    }

    /// All groups, the largest first.
    #[must_use]
    pub fn finish(self) -> Grouped {
        let mut groups: Vec<(String, Group)> = self.by_key.into_iter().collect();
        groups.sort_by(|(a_key, a), (b_key, b)| b.count.cmp(&a.count).then_with(|| a_key.cmp(b_key)));
        let groups = groups.into_iter().map(|(_, group)| group).collect();
        Grouped { letters: self.letters, groups, ungrouped: self.ungrouped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(pointer: &'a str, received_datetime: &'a str) -> Member<'a> {
        Member {
            event_name: Some("a:b"),
            schema_version: Some(1),
            code: "schema_violation",
            pointer,
            source: "web",
            received_datetime,
            event_uuid: None,
            detail: "odd",
            repeats: 0,
            last_repeated: None,
        }
    }

    #[test]
    fn what_is_wrong_in_the_same_way_is_one_group_with_its_first_and_last_time() {
        let mut groups = Groups::default();
        for (pointer, received) in [("/x", "2"), ("/y", "5"), ("/x", "1"), ("/x", "3")] {
            groups.add(&Member {
                event_uuid: (received == "3").then_some("u"),
                repeats: 2,
                last_repeated: Some(received),
                ..member(pointer, received)
            });
        }
        groups.add(&Member { event_name: None, ..member("/x", "9") });
        groups.add(&Member { event_name: Some(""), ..member("/x", "9") });
        let grouped = groups.finish();
        assert_eq!((grouped.letters, grouped.groups.len(), grouped.ungrouped), (6, 4, 0));
        let largest = &grouped.groups[0];
        assert_eq!((largest.count, &*largest.first_received, &*largest.last_received), (3, "1", "3"));
        assert_eq!(largest.example_event_uuid.as_deref(), Some("u"));
        assert_eq!((largest.repeats, largest.last_repeated.as_deref()), (6, Some("3")));
    }

    #[test]
    fn groups_have_a_limit_and_what_is_beyond_it_is_counted() {
        let mut groups = Groups::default();
        for number in 0..DEAD_LETTER_GROUPS_MAX + 7 {
            groups.add(&member(&number.to_string(), "1"));
        }
        let grouped = groups.finish();
        assert_eq!((grouped.groups.len(), grouped.ungrouped), (DEAD_LETTER_GROUPS_MAX, 7));
    }
}
