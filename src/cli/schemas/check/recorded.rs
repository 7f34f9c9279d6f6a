//! Recorded traffic: an event that one version accepts and the other refuses is a witness, even against a proof.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

use super::{compatibility::Comparison, finding::Report};
use crate::schema::compat::{Comparer, Verdict};

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    event_name: std::borrow::Cow<'a, str>,
}

pub(super) fn try_all(dir: &Path, comparisons: &mut [Comparison], report: &mut Report) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(dir, &mut files).with_context(|| dir.display().to_string())?;
    files.sort();
    let places: HashMap<String, usize> =
        comparisons.iter().enumerate().map(|(index, comparison)| (comparison.event_name.clone(), index)).collect();
    for file in files {
        let lines = BufReader::new(File::open(&file).with_context(|| file.display().to_string())?).lines();
        for (number, line) in lines.enumerate() {
            let line = line.with_context(|| file.display().to_string())?;
            let Ok(named) = serde_json::from_str::<Named<'_>>(&line) else { continue };
            report.recorded_events += 1;
            if let Some(&index) = places.get(&*named.event_name) {
                let place = format!("{}:{}", file.display(), number + 1);
                try_one(&mut comparisons[index], &line, &place);
            }
        }
    }
    Ok(())
}

fn try_one(comparison: &mut Comparison, event: &str, place: &str) {
    for index in 0..comparison.verdicts.len() {
        let (demand, verdict) = &comparison.verdicts[index];
        if matches!(verdict, Verdict::Refuted(_)) {
            continue;
        }
        let witness = comparison.sides(*demand).and_then(|(from, to)| Comparer::recorded(from, to, event, place));
        if let Some(witness) = witness {
            comparison.verdicts[index].1 = Verdict::Refuted(Box::new(witness));
        }
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ndjson" || extension == "jsonl") {
            files.push(path);
        }
    }
    Ok(())
}
