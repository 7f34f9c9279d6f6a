//! What a report says in words: when the erased events are gone for good, what is out of reach, and what may be left.

use super::{parts::ErasureParts, report::Report};
use crate::limits::IDLE_ROLL_AFTER;

/// Adds the statements to a report whose search has ended.
pub(super) fn conclude(report: &mut Report, parts: &ErasureParts) {
    report.gone_for_good = gone_for_good(report);
    report.out_of_reach = out_of_reach(report, parts);
    let mut incomplete = std::mem::take(&mut report.incomplete);
    incomplete.extend(left(report));
    incomplete.dedup();
    report.incomplete = incomplete;
}

fn gone_for_good(report: &Report) -> Vec<String> {
    let mut when = Vec::new();
    for spool in report.spools.iter().filter(|spool| spool.segments > 0) {
        when.push(format!(
            "{}: no sink gets the {} events from now on. Their bytes stay in {} segment files of the data folder. Each file is \
             deleted when every sink has delivered the other events in it; the newest one {} s after the spool is empty.",
            spool.spool,
            spool.erased,
            spool.segments,
            IDLE_ROLL_AFTER.as_secs()
        ));
    }
    if report.quarantine.iter().any(|file| file.later) {
        when.push(
            "quarantine: a damaged segment file that is still in use is overwritten when every sink has delivered it.".to_owned(),
        );
    }
    if report.dead_letters.erased > 0 {
        when.push("dead letters: gone from the files now.".to_owned());
    }
    for lake in report.lakes.iter().filter(|lake| lake.erased + lake.old_files_removed > 0) {
        let which = if lake.problem.is_none() && lake.unreadable_files.is_empty() {
            "the files that held the events are deleted now"
        } else {
            "the files in which events were found are deleted now; others may be left, see below"
        };
        when.push(format!(
            "lake {}: {which}. Queries of an older version that needs one of them fail \
             from now on. The log keeps the names and the statistics of those files, without payloads and identities, until its \
             own retention is over.",
            lake.root
        ));
    }
    when.push(
        "Deleted and overwritten bytes may stay on the medium until it uses the place again: disks, snapshots of file systems, \
         and buckets with versioning keep them for as long as they are set to."
            .to_owned(),
    );
    when
}

fn out_of_reach(report: &Report, parts: &ErasureParts) -> Vec<String> {
    let mut places: Vec<String> = parts
        .streams
        .iter()
        .map(|stream| format!("{stream}, and all that consumes it: what was delivered stays there"))
        .collect();
    if parts.is_in_fleet {
        places.push("the data folders of the other gateways of the fleet: run the same command on each of them".to_owned());
    }
    let forbidden = report.lakes.iter().filter_map(|lake| lake.typed_tables.as_ref()).filter(|typed| typed.forbidden);
    places.extend(forbidden.map(|typed| {
        let root = &typed.root;
        format!("typed tables in {root}, if another program built some: this gateway may not list them; `lakegate lake build` brings them up to date")
    }));
    places.push("backups and replicas of the data folder and of the lake".to_owned());
    places.push(
        "daily tables: `lakegate lake build --queries` makes them again without the events; their old files go with its vacuum"
            .to_owned(),
    );
    places.push("exports, query results, and dead letters that were copied elsewhere".to_owned());
    places.push("the senders: an event that a client sends for the first time after the erasure is accepted".to_owned());
    places
}

fn left(report: &Report) -> Vec<String> {
    let mut left = Vec::new();
    for spool in report.spools.iter().filter(|spool| spool.unreadable > 0) {
        left.push(format!(
            "{}: {} events could not be read, so they were not searched; repeat the erasure when they can be read or are lost",
            spool.spool, spool.unreadable
        ));
    }
    for file in report.quarantine.iter().filter(|file| file.unsearched_bytes > 0) {
        left.push(format!(
            "quarantine of {}: {} damaged bytes of {} could not be searched; `lakegate spool quarantine remove` deletes the file",
            file.spool, file.unsearched_bytes, file.file
        ));
    }
    if report.dead_letters.undecided > 0 {
        left.push(format!(
            "dead letters: {} letters contain a value, but their events are no JSON or not whole; --unreadable-too erases them",
            report.dead_letters.undecided
        ));
    }
    for file in &report.dead_letters.damaged_files {
        left.push(format!("dead letters: damaged bytes of {file} contain a value; delete the file"));
    }
    for lake in &report.lakes {
        left.extend(lake.problem.iter().map(|problem| format!("lake {}: {problem}", lake.root)));
        left.extend(lake.unreadable_files.iter().map(|file| format!("lake {}: {file} could not be read", lake.root)));
        if let Some(typed) = &lake.typed_tables {
            let problems = typed.problems.iter();
            left.extend(problems.map(|problem| format!("typed tables {}: {problem}; repeat the erasure", typed.root)));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::report::LakeReport;

    #[test]
    fn a_lake_whose_search_is_not_complete_is_not_said_to_be_clean() {
        let said = |lake: LakeReport| {
            let report = Report { lakes: vec![LakeReport { erased: 1, ..lake }], ..Report::default() };
            gone_for_good(&report).into_iter().find(|text| text.starts_with("lake")).unwrap()
        };
        assert!(said(LakeReport::default()).contains("the files that held the events are deleted now"));
        let problem = LakeReport { problem: Some("new files were committed all the time".to_owned()), ..LakeReport::default() };
        let unreadable = LakeReport { unreadable_files: vec!["a.parquet".to_owned()], ..LakeReport::default() };
        for lake in [problem, unreadable] {
            assert!(said(lake).contains("others may be left"));
        }
    }
}
