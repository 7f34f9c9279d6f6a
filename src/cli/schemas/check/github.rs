//! Annotations for GitHub Actions, which reads them from a step's output.

use std::fmt::Write;

use super::{
    finding::{Level, Report},
    sarif::message,
};

pub(super) fn annotations(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let level = if finding.level == Level::Error { "error" } else { "warning" };
        let file = escaped(&finding.file).replace(':', "%3A").replace(',', "%2C");
        let (line, code) = (finding.line, finding.code.as_str());
        let _ = writeln!(text, "::{level} file={file},line={line},title={code}::{}", escaped(&message(finding)));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
