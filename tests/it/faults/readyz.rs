//! What `/readyz` can say, and what proves it: each condition is provoked by a test on the running gateway, by name.

use std::{fs, path::Path};

use lakegate::conditions::Condition;

use crate::support::gateway::Setup;

/// The test that provokes each condition.
fn proof(condition: Condition) -> &'static str {
    match condition {
        Condition::Stopping => "a_stop_under_load_answers_what_is_in_flight_drains_all_and_ends_with_zero",
        Condition::SpoolFailed => "a_sync_of_data_fails",
        Condition::PartEnded => "a_system_that_gives_no_threads_ends_the_program_with_a_reason_at_its_start_and_later",
        Condition::DataMissing => "a_data_folder_that_vanishes_is_said_and_nothing_is_taken_until_it_is_back",
        Condition::SpoolFull => "with_the_sink_away_events_are_taken_up_to_the_quota_then_503_and_all_arrive_when_it_is_back",
        Condition::DiskFull => "the_disk_says_that_it_is_full",
        Condition::DiskReadOnly => "a_file_system_that_became_read_only_takes_nothing_and_a_restart_is_needed_after",
        Condition::SpoolMissing => "while_what_was_removed_cannot_be_made_again_it_is_said_and_nothing_is_taken",
        Condition::DedupFull => "a_window_that_cannot_be_written_is_full_once_memory_is_and_takes_events_again_once_it_can",
        Condition::SpoolUnreadable => "a_block_that_cannot_be_read_for_some_seconds_costs_nothing_be_the_sink_a_lake_or_a_stream",
        Condition::SpoolDamaged => {
            "a_damaged_segment_stays_whole_in_the_quarantine_and_its_loss_is_named_until_a_person_removes_it"
        }
        Condition::CursorUnwritable => {
            "a_cursor_that_cannot_be_written_is_said_and_delivery_goes_on_and_after_a_kill_nothing_is_there_twice"
        }
        Condition::JournalUnwritable => "a_journal_that_cannot_be_written_is_said_and_knows_everything_once_it_can",
        Condition::SinkUnreachable => {
            "with_the_sink_away_events_are_taken_up_to_the_quota_then_503_and_all_arrive_when_it_is_back"
        }
        Condition::PartitionUnwritable => "a_partition_that_cannot_be_written_holds_up_itself_alone_through_a_kill",
        Condition::ShardFailing => "a_shard_that_takes_nothing_is_named_and_delays_nobody_else_and_catches_up",
        Condition::RecordsHeld => "calls_that_are_all_invalid_make_no_dead_letter",
        Condition::SinkEventsDropped => "a_dead_sink_that_may_drop_holds_up_nobody_and_says_what_it_dropped",
        Condition::DeadLetterSinkUnreachable => "dead_letters_have_their_own_stream",
        Condition::DeadLettersFilling => "large_letters_leave_room_for_small_ones_and_readyz_warns_before_there_is_none",
        Condition::KeyShareFull => "a_browser_key_fills_its_share_of_the_spool_and_nobody_elses",
        Condition::DeadLettersFull => "full_dead_letters_are_said_until_files_are_deleted_although_no_letter_comes",
        Condition::DeadLettersDiscarded => {
            "full_dead_letters_do_not_stop_a_sender_of_whole_chunks_and_what_is_discarded_for_it_is_said"
        }
        Condition::DeadLettersUnwritable => "a_folder_that_cannot_be_written_is_said_until_it_can_although_no_letter_comes",
        Condition::DedupStoreUnreachable => {
            "while_the_store_is_away_events_are_accepted_and_tagged_and_later_the_others_know_them"
        }
        Condition::DedupUnwritable => "what_keeps_the_window_from_its_disk_is_said_and_passes",
        Condition::DedupUnreadable => "an_event_whose_page_cannot_be_read_for_a_moment_is_answered_with_retry",
        Condition::DedupDamaged => "a_start_waits_for_a_run_that_cannot_be_opened_or_read_and_then_sets_it_aside",
        Condition::DedupForgetting => "a_window_of_more_identities_than_it_may_have_says_that_it_forgets",
        Condition::KeyExpiresSoon => "a_secret_that_is_used_shortly_before_its_end_is_told_and_so_is_a_key_that_has_none_left",
        Condition::KeyExpired => "a_secret_that_is_used_shortly_before_its_end_is_told_and_so_is_a_key_that_has_none_left",
        Condition::ClockJumped => "a_clock_that_is_a_month_ahead_for_a_moment_expires_nothing",
        Condition::LakeUpkeepFailing => "an_upkeep_that_fails_for_long_is_said_until_it_succeeds",
        Condition::LedgerUnwritable => "a_ledger_that_cannot_be_written_holds_up_nothing_and_counts_everything_once_it_can",
        Condition::LedgerDamaged => "a_damaged_ledger_is_said_and_begins_again",
        Condition::InodesLow => "a_file_system_that_does_not_answer_is_no_full_disk_and_one_without_inodes_is_none_either",
        Condition::LogStalled => "a_log_that_nobody_reads_stops_nothing_and_costs_lines_that_are_counted",
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of all tests of the running gateway.
fn tests() -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).expect("text"));
            }
        }
    }
    let mut text = String::new();
    read(&root().join("tests"), &mut text);
    text
}

#[test]
fn every_condition_is_provoked_by_a_test_that_names_its_code() {
    let tests = tests();
    for condition in Condition::ALL {
        let name = proof(condition);
        let body = tests.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("there is no test {name}")).1;
        let body = body.split("\n}\n").next().expect("it ends");
        let is_named = body.contains(condition.code()) || body.contains(&format!("Condition::{condition:?}"));
        assert!(is_named, "{name} does not speak of {}", condition.code());
    }
}

#[test]
fn the_alerts_page_for_the_conditions_that_block_and_for_no_others() {
    let alerts = fs::read_to_string(root().join("ops/prometheus/alerts.yml")).expect("it is shipped");
    // A gateway that stops is asked to.
    let blocking = Condition::ALL.iter().filter(|condition| condition.blocks() && **condition != Condition::Stopping);
    let codes = blocking.map(|condition| condition.code()).collect::<Vec<_>>().join("|");
    for expression in
        [format!("lakegate_condition{{code=~\"{codes}\"}} > 0"), format!("lakegate_condition{{code!~\"stopping|{codes}\"}} > 0")]
    {
        assert!(alerts.contains(&expression), "{expression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_is_a_series_of_the_gauge_from_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Setup::new(folder.path().join("data")).start().await;
    let answer = crate::support::client::get_plain(gateway.admin(), "/metrics").await.expect("an answer");
    for condition in Condition::ALL {
        let series = format!("lakegate_condition{{code=\"{}\"}} 0", condition.code());
        assert!(answer.text().lines().any(|line| line == series), "{series}");
    }
    gateway.stop().await;
}
