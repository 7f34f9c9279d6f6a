//! The steps of one erasure.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::{
    task::block_in_place,
    time::{Instant, timeout_at},
};

use super::{
    criterion::Criterion,
    lakes, letters,
    parts::{ErasureLake, ErasureParts, now},
    report::Report,
    requests::{Requests, StoredRequest},
    spools::{self, Contents},
    statements,
};
use crate::{
    dead_letters::{Claims, Lines, Run as LettersRun, StoredLetter, lines_in},
    limits::ERASURE_ATTEMPTS_WAIT,
    repair::Repair,
    sink::lake::StopSignal,
    spool::Spool,
};

/// One erasure.
pub(super) struct Run<'a> {
    pub(super) parts: &'a ErasureParts,
    pub(super) requests: &'a Requests,
    pub(super) is_interrupted: &'a AtomicBool,
    pub(super) stop: &'a StopSignal,
    pub(super) criterion: &'a Criterion,
    pub(super) report: Report,
}

impl Run<'_> {
    /// All steps. Then the report is stored, unless this is a dry run.
    pub(super) async fn all(&mut self, repair: &Repair) -> io::Result<()> {
        self.report.incomplete.clear();
        self.save()?;
        let pause = repair.pause().await;
        let spools = self.spools();
        for (spool, name, contents) in &spools {
            self.erase_from_spool(spool, name, *contents).await?;
        }
        self.save()?;
        let run = LettersRun { id: self.report.id.clone(), at: self.report.requested_at.clone() };
        let (criterion, dry_run) = (self.criterion, self.report.dry_run);
        let letters = &mut self.report.dead_letters;
        block_in_place(|| letters::erase(&self.parts.dead_letters, criterion, &run, dry_run, letters))?;
        for (spool, name, contents) in &spools {
            let found = &mut self.report.quarantine;
            block_in_place(|| spools::search_quarantine(spool, name, *contents, criterion, dry_run, found))?;
        }
        drop(pause);
        self.save()?;
        for lake in &self.parts.lakes {
            let unclaimed = self.erase_from_lake(lake, Vec::new())?;
            if dry_run {
                continue;
            }
            if unclaimed.is_empty() {
                self.erase_from_typed_tables(lake)?;
                continue;
            }
            for (spool, name, contents) in &spools {
                self.erase_from_spool(spool, name, *contents).await?;
            }
            let unclaimed = self.erase_from_lake(lake, unclaimed)?;
            if !unclaimed.is_empty() {
                let files = unclaimed.join(", ");
                let problem =
                    format!("files that a writer may still commit hold events; repeat the erasure in two days: {files}");
                self.report.lake(&lake.location.root).problem = Some(problem);
            }
            self.erase_from_typed_tables(lake)?;
        }
        statements::conclude(&mut self.report, self.parts);
        self.report.finished_at = Some(now());
        if self.report.dry_run { Ok(()) } else { self.requests.finish(&self.report) }
    }

    fn spools(&self) -> Vec<(Arc<Spool>, &'static str, Contents)> {
        let of_letters = self.parts.dead_letter_spool.clone().map(|spool| (spool, "dead-letter-spool", Contents::Letters));
        std::iter::once((self.parts.spool.clone(), "spool", Contents::Events)).chain(of_letters).collect()
    }

    /// Erases from a spool, and waits for the attempts to deliver that began before.
    async fn erase_from_spool(&mut self, spool: &Arc<Spool>, name: &str, contents: Contents) -> io::Result<()> {
        let end = spool.durable_end();
        let report = self.report.spool(name);
        let selected = block_in_place(|| spools::search(spool, contents, self.criterion, end, self.is_interrupted, report))?;
        if self.report.dry_run {
            return Ok(());
        }
        for (others, count) in selected.iter().filter_map(|frame| frame.others.clone()) {
            self.keep_others(others, count).await?;
        }
        let seqs: Vec<u64> = selected.iter().map(|frame| frame.seq).collect();
        let earlier = block_in_place(|| spool.erase(&seqs))?;
        if timeout_at(Instant::now() + ERASURE_ATTEMPTS_WAIT, earlier.ended()).await.is_err() {
            self.report.incomplete.push(format!(
                "{name}: a delivery that began before the erasure has not ended after {} s, and may still write an event; \
                 repeat the erasure",
                ERASURE_ATTEMPTS_WAIT.as_secs()
            ));
        }
        Ok(())
    }

    /// Erases from a lake. Returns files that a writer may still commit.
    fn erase_from_lake(&mut self, lake: &ErasureLake, unclaimed: Vec<String>) -> io::Result<Vec<String>> {
        let (criterion, dry_run) = (self.criterion, self.report.dry_run);
        let report = self.report.lake(&lake.location.root);
        let erased = block_in_place(|| lakes::erase(lake, self.parts, criterion, self.stop, dry_run, unclaimed, report));
        self.save()?;
        erased
    }

    fn erase_from_typed_tables(&mut self, lake: &ErasureLake) -> io::Result<()> {
        let report = self.report.lake(&lake.location.root);
        let erased = block_in_place(|| lakes::erase_from_typed(lake, self.parts, self.criterion, self.stop, report));
        self.save()?;
        erased
    }

    /// Stores the other letters of a pack again, before the pack is erased.
    async fn keep_others(&self, text: Vec<u8>, count: usize) -> io::Result<()> {
        let first = lines_in(text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default());
        let source = first.first().and_then(|line| Some(StoredLetter::parse(line).ok()?.source.into_owned()));
        let lines = Lines {
            source: source.unwrap_or_default().into(),
            text,
            count,
            within_quota: false,
            may_discard: false,
            refused: None,
            claims: Claims::default(),
        };
        match self.parts.dead_letters.append(lines).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(io::Error::other("the writer of the dead letters is gone")),
        }
    }

    /// Stores what was done so far.
    fn save(&self) -> io::Result<()> {
        if self.report.dry_run {
            return Ok(());
        }
        let request = StoredRequest { criterion: self.criterion.text().clone(), report: self.report.clone() };
        block_in_place(|| self.requests.store(&request))
    }
}
