//! The meaning of each condition, and the operator's action: the table in `ERRORS.md`.

use super::list::Condition;

impl Condition {
    /// The fault, and what the gateway does meanwhile.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Stopping => {
                "The gateway is shutting down. For `stop.lame_duck_seconds` it still takes events; then it answers `stopping`. What \
                 it accepted is on disk."
            }
            Self::SpoolFailed => {
                "A sync failed, so nobody knows what the disk holds. Nothing more is taken, and the program ends with 74; what was \
                 acknowledged is recovered by the next start."
            }
            Self::PartEnded => {
                "A thread or a task died: a bug. The program ends with 70; what was acknowledged is on disk, and the next start \
                 delivers it."
            }
            Self::DataMissing => {
                "The data folder cannot be reached, or another one is in its place. Nothing is taken until it is back."
            }
            Self::SpoolFull => {
                "The spool holds as much as it may. Events are answered `storage_unavailable` until some are delivered."
            }
            Self::DiskFull => {
                "The file system is full. Events are answered `storage_unavailable`; delivery goes on and makes room."
            }
            Self::DiskReadOnly => {
                "The file system is mounted read-only, mostly after an error. Nothing is taken. Once it takes writes again, the \
                 program ends with 74: what the disk dropped meanwhile is not known."
            }
            Self::SpoolMissing => {
                "Files of the spool were removed or replaced, or its file system is not mounted any more, and they cannot be made \
                 again yet. Nothing is taken until they are. A folder with undelivered events in it is waited for, and then \
                 given up."
            }
            Self::DedupFull => {
                "The dedup window cannot write its identities, and its memory is full. Events are answered `dedup_full`."
            }
            Self::SpoolUnreadable => {
                "A block or a segment of the spool cannot be read, or was removed. It is tried again for \
                 `spool.unreadable_block_seconds`; then its events are given up and named, see `spool_damaged`. The events \
                 behind it wait, and new ones are taken."
            }
            Self::SpoolDamaged => {
                "Accepted events were lost to a damaged disk. `spool/quarantine/` names them, and keeps the damaged files."
            }
            Self::CursorUnwritable => "How far delivery is cannot be noted. It goes on, and delivered events stay on disk.",
            Self::JournalUnwritable => "What the stream has cannot be noted: after a crash some events are sent again.",
            Self::SinkUnreachable => "The sink does not answer, or refuses everything. Events are taken and wait in the spool.",
            Self::PartitionUnwritable => "A partition of the lake cannot be written. Its events wait; the others are delivered.",
            Self::ShardFailing => "A shard of the stream takes nothing. Its events wait; the others are delivered.",
            Self::RecordsHeld => "The stream refuses records for a reason that may concern all of them. They wait in the spool.",
            Self::SinkEventsDropped => {
                "Events were dropped for one of several sinks, because those that wait for it filled its part of the spool and it \
                 has `when_full = \"drop_this_sink\"`. The other sinks get them. `detail` says how many. Told for a day."
            }
            Self::DeadLetterSinkUnreachable => "The stream of the dead letters does not answer. They wait in their own spool.",
            Self::DeadLettersFilling => {
                "The dead letters of a key hold half of `dead_letters.bytes_per_key_max`, or more. They are kept until they are full."
            }
            Self::KeyShareFull => {
                "The events of a key hold as much of the spool, or of the dedup window, as its `share_percent` allows. Its new \
                 events are answered `key_spool_share_full` or `key_dedup_share_full`; those of other keys are taken."
            }
            Self::DeadLettersFull => {
                "The dead letters of a key are at their quota; the last quarter of it is for small ones. Its bad events are \
                 answered `dead_letters_full`."
            }
            Self::DeadLettersDiscarded => {
                "The dead letters of a key were full for `dead_letters.hold_minutes_when_full`, and held up good events of whole \
                 requests. Its oldest ones were discarded, unrepaired; `detail` says how many. Told until somebody makes room, for \
                 a day at most."
            }
            Self::DeadLettersUnwritable => "Dead letters cannot be written. Bad events are answered `storage_unavailable`.",
            Self::DedupStoreUnreachable => {
                "The shared dedup store does not answer. Events are taken and tagged `\"dedup\":\"unchecked\"`."
            }
            Self::DedupUnwritable => "The dedup window cannot write its identities. They stay in memory until it is full.",
            Self::DedupUnreadable => {
                "A part of the dedup window cannot be read. It is tried again for two minutes, and then counts as damaged; \
                 meanwhile events that it may know are answered `dedup_unavailable`."
            }
            Self::DedupDamaged => {
                "A part of the dedup window is damaged, or was removed: its identities are forgotten, and duplicates of their \
                 events may pass. What can be kept of it is renamed to `.damaged`."
            }
            Self::DedupForgetting => {
                "There are more identities than `dedup.identities_max`. The oldest are forgotten before their time."
            }
            Self::KeyExpiresSoon => {
                "A secret of a key expires within seven days, and was used within the last day. It is good until then; later it is \
                 answered `key_expired`."
            }
            Self::KeyExpired => "All secrets of a key have expired. Whoever sends with them is answered `key_expired`.",
            Self::ClockJumped => {
                "The wall clock jumped. What expires by time waits until the time is confirmed. Only the `not_after` of a secret \
                 is held to the wall clock as it is."
            }
            Self::LakeUpkeepFailing => {
                "The upkeep of the lake has failed for an hour: small files are not merged, and what has expired stays. Events are \
                 taken and delivered."
            }
            Self::LedgerUnwritable => {
                "The ledger cannot be written. Events are taken and delivered; what happens to them is noted in memory, and counted once \
                 the ledger can be written again."
            }
            Self::LedgerDamaged => {
                "The ledger was damaged. The file is kept as `data/ledger/ledger.damaged`, and a new ledger begins: earlier minutes are not in \
                 it. Events are not concerned."
            }
            Self::InodesLow => {
                "The file system has hardly any inodes left: soon no file can be made, however many bytes are free."
            }
            Self::LogStalled => "Nobody reads the log, or its file takes no more. Lines are dropped and counted.",
        }
    }

    /// The operator's action.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::Stopping => "Nothing.",
            Self::SpoolFailed => "Look at the disk (`dmesg`); restart.",
            Self::PartEnded => "Report the line of the log that says `a panic`. A supervisor restarts the program.",
            Self::DataMissing => "Mount the file system again and restart. `require_existing_data` refuses an empty mount point.",
            Self::SpoolFull => "Mend the sink, or raise `spool.quota_bytes`.",
            Self::DiskFull => "Free some space, or lower `spool.free_bytes_min`.",
            Self::DiskReadOnly => "Check the file system (`dmesg`), mount it for writing; a supervisor restarts the program.",
            Self::SpoolMissing => "Read `detail`: put the folder back, or mount its file system again.",
            Self::DedupFull => "Make `data/dedup` writable again, or room for it.",
            Self::SpoolUnreadable => "Look at the disk (`dmesg`); put back what was removed.",
            Self::SpoolDamaged => {
                "Replace the disk. `lakegate spool quarantine list` says what was lost; `salvage` takes back what can be read \
                 after all, while the gateway is stopped; `remove` ends the warning."
            }
            Self::CursorUnwritable => "Make `data/spool` writable again.",
            Self::JournalUnwritable => "Make `data/delivery` writable again.",
            Self::SinkUnreachable => "Read `detail`: credentials, network, permissions, or the sink itself.",
            Self::PartitionUnwritable => "Read `detail`; make the folder writable.",
            Self::ShardFailing => "Look at the stream's own metrics.",
            Self::RecordsHeld => "Read `detail`; mend the stream's configuration.",
            Self::SinkEventsDropped => {
                "Mend the sink, or take it out of `[[sinks]]`; raise `spool.quota_bytes` or its `quota_percent` for longer outages."
            }
            Self::DeadLetterSinkUnreachable => "Read `detail`, as for `sink_unreachable`.",
            Self::DeadLettersFilling => {
                "`lakegate dead-letters list`, then `lakegate dead-letters replay` or `lakegate dead-letters drop`; look who sends them."
            }
            Self::KeyShareFull => {
                "Spool: mend the sink. Else look at what is sent with the key, or raise its `share_percent`, the quota or \
                 `dedup.identities_max`."
            }
            Self::DeadLettersFull => {
                "`lakegate dead-letters list`, then `lakegate dead-letters replay` or `lakegate dead-letters drop`."
            }
            Self::DeadLettersDiscarded => {
                "`lakegate dead-letters list`, then `replay` or `drop`; raise `dead_letters.bytes_per_key_max`, or look who sends them."
            }
            Self::DeadLettersUnwritable => "Make `data/dead-letters` writable again; `detail` says what is in the way.",
            Self::DedupStoreUnreachable => "Mend the store or the way to it.",
            Self::DedupUnwritable => "Make `data/dedup` writable again, or room for it.",
            Self::DedupUnreadable => "Look at the disk (`dmesg`).",
            Self::DedupDamaged => "Look at the disk (`dmesg`); remove the file that `detail` names once nobody needs it.",
            Self::DedupForgetting => "Raise `dedup.identities_max`.",
            Self::KeyExpiresSoon => {
                "Give the sender the other secret of the key, or make one: `lakegate keys rotate`. `lakegate keys list` shows who \
                 uses which."
            }
            Self::KeyExpired => {
                "`lakegate keys rotate` makes another secret. If nobody needs the key, `lakegate keys revoke` switches it off."
            }
            Self::ClockJumped => "Check the time service; set the clock right.",
            Self::LakeUpkeepFailing => "Read `detail`; `lakegate lake compact` shows the same error at once.",
            Self::LedgerUnwritable => "Read `detail`; make `data/ledger` writable again, or room for it.",
            Self::LedgerDamaged => {
                "Look at the disk (`dmesg`); remove the file once nobody needs it. A restart ends the warning."
            }
            Self::InodesLow => "Remove small files from this file system, or make one with more inodes.",
            Self::LogStalled => "Restart whatever reads the log, or make room for it.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_says_in_one_row_of_a_table_what_it_means_and_what_to_do() {
        for condition in Condition::ALL {
            for text in [condition.meaning(), condition.action()] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{}: {text}", condition.code());
            }
        }
    }
}
