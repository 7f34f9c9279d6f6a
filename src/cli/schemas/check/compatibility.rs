//! Checks the versions against the modes of `registry.toml`.

use std::path::PathBuf;

use serde_json::Value;

use super::finding::{Code, Compared, Finding, Level, Report, Shown};
use crate::schema::{
    Registry,
    compat::{Comparer, Demand, Mode, Origin, Policy, Verdict, Version, Witness},
};

/// The versions of one event, and their findings.
pub(super) struct Comparison {
    pub(super) event_name: String,
    pub(super) versions: Vec<Version>,
    numbers: Vec<u32>,
    mode: Mode,
    pub(super) verdicts: Vec<(Demand, Verdict)>,
}

impl Comparison {
    /// The versions of a demand: the version whose events are used, and the version that must accept them.
    pub(super) fn sides(&self, demand: Demand) -> Option<(&Version, &Version)> {
        let version = |number| self.numbers.iter().position(|&known| known == number).map(|index| &self.versions[index]);
        Some((version(demand.from())?, version(demand.to())?))
    }
}

pub(super) fn compare(registry: &Registry, policy: &Policy) -> anyhow::Result<Vec<Comparison>> {
    let mut comparer = Comparer::default();
    let mut comparisons = Vec::new();
    for (name, schemas) in registry.iter() {
        let numbers: Vec<u32> = schemas.iter().map(|schema| schema.version).collect();
        let mode = policy.mode(name);
        let demands = mode.demands(&numbers, &|version| policy.fresh_start(name, version).is_some());
        if demands.is_empty() {
            continue;
        }
        let version = |schema: &crate::schema::Schema| {
            let document: Value = serde_json::from_str(&schema.document)?;
            Version::new(name, schema.version, &document).map_err(|reason| anyhow::anyhow!("{}: {reason}", schema.label()))
        };
        let versions = schemas.iter().map(version).collect::<anyhow::Result<Vec<_>>>()?;
        let mut comparison = Comparison { event_name: name.to_owned(), versions, numbers, mode, verdicts: Vec::new() };
        for demand in demands {
            if let Some((from, to)) = comparison.sides(demand) {
                let verdict = comparer.compare(from, to);
                comparison.verdicts.push((demand, verdict));
            }
        }
        comparisons.push(comparison);
    }
    Ok(comparisons)
}

pub(super) fn report(comparisons: Vec<Comparison>, is_strict: bool, report: &mut Report) {
    for comparison in comparisons {
        let name = &comparison.event_name;
        let file = |version: u32| PathBuf::from(name.replace(':', "/")).join(format!("{version}.json"));
        for (demand, verdict) in comparison.verdicts {
            let (from, to, mode) = (demand.from(), demand.to(), comparison.mode);
            let mut compared =
                Compared { event_name: name.clone(), mode: mode.as_str(), from, to, verdict: "proved", reason: None };
            match verdict {
                Verdict::Proved => {}
                Verdict::Refuted(witness) => {
                    compared.verdict = "refuted";
                    let said = format!("{name} {mode}: version {to} refuses an event that version {from} accepts");
                    let place = place_in(&witness.pointer);
                    report.add(Finding::new(Code::Incompatible, &file(demand.newer), said).at(&place).with(shown(*witness)));
                }
                Verdict::Undecided(reason) => {
                    compared.verdict = "undecided";
                    let said = format!(
                        "{name} {mode}: whether version {to} accepts every event that version {from} accepts cannot be decided \
                         ({reason}); no event that was tried says no"
                    );
                    let mut finding = Finding::new(Code::Undecided, &file(demand.newer), said);
                    if is_strict {
                        finding.level = Level::Error;
                    }
                    report.add(finding);
                    compared.reason = Some(reason);
                }
            }
            report.comparisons.push(compared);
        }
    }
}

fn shown(witness: Witness) -> Shown {
    let origin = match witness.origin {
        Origin::Made => "made".to_owned(),
        Origin::Example => "example".to_owned(),
        Origin::Recorded(place) => place,
    };
    Shown { event: witness.event, origin, pointer: witness.pointer, reason: witness.reason }
}

/// The place in a schema for the first member of a pointer into an event.
fn place_in(pointer: &str) -> String {
    pointer.split('/').nth(1).map_or_else(String::new, |member| format!("/properties/{member}"))
}
