//! SARIF 2.1.0, for code scanning services.

use serde_json::{Value, json};

use super::{
    finding::{Code, Finding, Level, Report},
    human::{shorten, shortened},
};

pub(super) fn log(report: &Report) -> Value {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = report.findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "lakegate schemas check", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.as_str(),
        "shortDescription": { "text": code.meaning() },
        "defaultConfiguration": { "level": level(code.level()) },
    })
}

fn result(finding: &Finding) -> Value {
    json!({
        "ruleId": finding.code.as_str(),
        "level": level(finding.level),
        "message": { "text": message(finding) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": finding.file.replace('\\', "/") },
                "region": { "startLine": finding.line },
            },
        }],
    })
}

/// The finding as one text, with its event.
pub(super) fn message(finding: &Finding) -> String {
    let mut text = finding.message.clone();
    if !finding.pointer.is_empty() {
        text.push_str(&format!(" [{}]", finding.pointer));
    }
    if let Some(shown) = &finding.witness {
        let place = if shown.pointer.is_empty() { "the event itself" } else { &shown.pointer };
        let mut event = shown.event.clone();
        shorten(&mut event);
        text.push_str(&format!("\nrefused at {place}: {}\n{event}", shortened(&shown.reason)));
    }
    text
}
