//! The findings of a check and their codes. The codes are stable: `schemas/README.md` lists them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    json::{Kind, Node, Parser, Tape, pointer_name},
    schema::{Inspected, Rule},
};

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    Name,
    VersionGap,
    NotJson,
    Dialect,
    Metaschema,
    Reference,
    NotUsable,
    NoExamples,
    ExampleRefused,
    BadExampleAccepted,
    BadExampleDiffers,
    ExamplesUnreadable,
    ChangedInPlace,
    Removed,
    NotInManifest,
    NoManifest,
    PolicyUnused,
    Incompatible,
    Undecided,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Error,
    Warning,
}

impl Code {
    pub(super) const ALL: [Self; 19] = [
        Self::Name,
        Self::VersionGap,
        Self::NotJson,
        Self::Dialect,
        Self::Metaschema,
        Self::Reference,
        Self::NotUsable,
        Self::NoExamples,
        Self::ExampleRefused,
        Self::BadExampleAccepted,
        Self::BadExampleDiffers,
        Self::ExamplesUnreadable,
        Self::ChangedInPlace,
        Self::Removed,
        Self::NotInManifest,
        Self::NoManifest,
        Self::PolicyUnused,
        Self::Incompatible,
        Self::Undecided,
    ];

    pub(super) fn of(rule: Rule) -> Self {
        match rule {
            Rule::Name => Self::Name,
            Rule::VersionGap => Self::VersionGap,
            Rule::Json => Self::NotJson,
            Rule::Dialect => Self::Dialect,
            Rule::Metaschema => Self::Metaschema,
            Rule::Reference => Self::Reference,
            Rule::Usable => Self::NotUsable,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        self.parts().0
    }

    pub(super) fn meaning(self) -> &'static str {
        self.parts().1
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::NoManifest | Self::PolicyUnused | Self::Undecided => Level::Warning,
            _ => Level::Error,
        }
    }

    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("name", "the path is not an event name and a version, `menu/item/viewed/2.json`"),
            Self::VersionGap => ("version_gap", "the version before it is missing"),
            Self::NotJson => ("not_json", "the file is no JSON object, too large, or not readable"),
            Self::Dialect => ("dialect", "`$schema` names another dialect than draft 2020-12"),
            Self::Metaschema => ("metaschema", "a keyword has a value that it cannot have"),
            Self::Reference => ("reference", "a `$ref` leads nowhere, or out of the folder"),
            Self::NotUsable => ("not_usable", "the gateway cannot compile it: an unknown format, a pattern that looks around"),
            Self::NoExamples => ("no_examples", "`examples` holds no event"),
            Self::ExampleRefused => ("example_refused", "an event of `examples`, or a `good` one, is refused"),
            Self::BadExampleAccepted => ("bad_example_accepted", "a `bad` event is accepted"),
            Self::BadExampleDiffers => {
                ("bad_example_differs", "a `bad` event is refused with another code or pointer than it says")
            }
            Self::ExamplesUnreadable => ("examples_unreadable", "`N.examples.json` is not what it should be, or has no schema"),
            Self::ChangedInPlace => {
                ("changed_in_place", "a published file, or a piece that one refers to, is another than it was")
            }
            Self::Removed => ("removed", "a published file is not there any more"),
            Self::NotInManifest => ("not_in_manifest", "the manifest does not hold the file yet; `--update-manifest` adds it"),
            Self::NoManifest => ("no_manifest", "there is no manifest, so nothing tells what was changed"),
            Self::PolicyUnused => ("policy_unused", "`registry.toml` names an event that is not there"),
            Self::Incompatible => ("incompatible", "a version refuses an event that it has to accept; the event is shown"),
            Self::Undecided => ("undecided", "compatibility is neither proved nor disproved (an error with `--strict`)"),
        }
    }
}

/// One finding.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) code: Code,
    /// The path to open, with the registry's folder.
    pub(super) file: String,
    pub(super) line: usize,
    /// JSON pointer into the file; empty for the whole file.
    pub(super) pointer: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) witness: Option<Shown>,
    #[serde(skip)]
    below: PathBuf,
}

/// The event of a finding.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) event: Value,
    /// `made`, `example`, or the file and line of recorded traffic.
    pub(super) origin: String,
    /// JSON pointer to the refused value.
    pub(super) pointer: String,
    pub(super) reason: String,
}

/// One comparison of two versions.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub(super) event_name: String,
    pub(super) mode: &'static str,
    /// The version whose events are used.
    pub(super) from: u32,
    /// The version that must accept them.
    pub(super) to: u32,
    pub(super) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// The report of a check.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) comparisons: Vec<Compared>,
    pub(super) events: usize,
    pub(super) versions: usize,
    /// Whether examples and compatibility were checked: not if files are faulty.
    pub(super) is_complete: bool,
    pub(super) recorded_events: usize,
    pub(super) added_to_manifest: usize,
    #[serde(skip)]
    dir: PathBuf,
}

impl Finding {
    /// A finding for a file below the registry's folder.
    pub(super) fn new(code: Code, file: &Path, message: String) -> Self {
        let below = file.to_owned();
        Self { level: code.level(), code, file: String::new(), line: 1, pointer: String::new(), message, witness: None, below }
    }

    pub(super) fn at(mut self, pointer: &str) -> Self {
        pointer.clone_into(&mut self.pointer);
        self
    }

    pub(super) fn with(mut self, witness: Shown) -> Self {
        self.witness = Some(witness);
        self
    }
}

impl Report {
    pub(super) fn new(dir: &Path, inspected: &Inspected) -> Self {
        let names: std::collections::BTreeSet<&String> = inspected.versions.keys().map(|(name, _)| name).collect();
        Self {
            findings: Vec::new(),
            comparisons: Vec::new(),
            events: names.len(),
            versions: inspected.versions.len(),
            is_complete: true,
            recorded_events: 0,
            added_to_manifest: 0,
            dir: dir.to_owned(),
        }
    }

    pub(super) fn add(&mut self, mut finding: Finding) {
        let path = self.dir.join(&finding.below);
        finding.file = path.display().to_string();
        if let Some(line) = fs::read_to_string(&path).ok().and_then(|text| line_of(&text, &finding.pointer)) {
            finding.line = line;
        }
        self.findings.push(finding);
    }

    pub(super) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    pub(super) fn errors(&self) -> usize {
        self.count(Level::Error)
    }

    pub(super) fn sort(&mut self) {
        self.findings
            .sort_by(|a, b| (a.level, &a.file, a.line, a.code, &a.message).cmp(&(b.level, &b.file, b.line, b.code, &b.message)));
    }
}

/// The line on which the value at a JSON pointer begins, from 1.
fn line_of(text: &str, pointer: &str) -> Option<usize> {
    let mut tape = Tape::new();
    Parser::new(text, usize::MAX).value(&mut tape).ok()?;
    let mut node = tape.root(text);
    for token in pointer.split('/').skip(1) {
        node = step(node, &pointer_name(token))?;
    }
    let offset = node.raw().as_ptr() as usize - text.as_ptr() as usize;
    Some(text[..offset].matches('\n').count() + 1)
}

fn step<'a>(node: Node<'a>, token: &str) -> Option<Node<'a>> {
    match node.kind() {
        Kind::Object => node.members().find(|(name, _)| name == token).map(|(_, value)| value),
        Kind::Array => node.elements().nth(token.parse().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_pointer_is_where_its_value_begins() {
        let text = "{\n  \"a\": [\n    1,\n    { \"b/c\": 2 }\n  ]\n}";
        for (pointer, line) in [("", 1), ("/a", 2), ("/a/0", 3), ("/a/1/b~1c", 4)] {
            assert_eq!(line_of(text, pointer), Some(line), "{pointer}");
        }
        assert_eq!(line_of(text, "/x"), None);
    }

    #[test]
    fn every_code_is_in_the_documentation_with_its_meaning() {
        let page = include_str!("../../../../schemas/README.md");
        for code in Code::ALL {
            let level = if code.level() == Level::Error { "error" } else { "warning" };
            let row = format!("| `{}` | {level} | {} |", code.as_str(), code.meaning());
            assert!(page.contains(&row), "schemas/README.md lacks: {row}");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
