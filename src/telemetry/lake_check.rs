//! The metrics of `lakegate lake check`, for the textfile collector of Prometheus' node exporter.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// What a check counted.
#[derive(Clone, Debug, Default)]
pub struct LakeCheckNumbers {
    /// Live files.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it was checked, in Unix seconds.
    pub checked_seconds: i64,
    /// Findings of each code, and the severity of the code.
    pub findings: Vec<(&'static str, &'static str, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    code: &'static str,
    severity: &'static str,
}

/// The numbers in the text format of Prometheus.
#[must_use]
pub fn lake_check_exposition(numbers: &LakeCheckNumbers) -> String {
    let mut registry = Registry::default();
    let mut gauge = |name: &str, help: &str, value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge("lakegate_lake_check_files", "Live files of the lake", numbers.files.cast_signed());
    gauge("lakegate_lake_check_rows", "Rows in the live files", numbers.rows.cast_signed());
    gauge("lakegate_lake_check_bytes", "Bytes of the live files", numbers.bytes.cast_signed());
    gauge("lakegate_lake_check_timestamp_seconds", "When the lake was checked", numbers.checked_seconds);
    let findings: Family<FindingLabels, Gauge> = Family::default();
    for &(code, severity, count) in &numbers.findings {
        findings.get_or_create(&FindingLabels { code, severity }).set(count.cast_signed());
    }
    registry.register("lakegate_lake_check_findings", "What did not fit, by code", findings);
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut text, &registry);
    text
}
