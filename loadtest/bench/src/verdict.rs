//! The budget of the gateway, and whether it is met. The figures are those of one record for each event into the stream,
//! everything on.

use crate::{
    figures::short,
    row::{Row, Rows, Sample},
    under_test::Kind,
    wire::Http,
};

/// Most that the gateway may cost, as a ratio to a reference: what must be, and what would be good.
const BATCHED_MAX: f64 = 1.9;
const BATCHED_STRETCH: f64 = 1.4;
const SINGLE_MAX: f64 = 3.0;
const SINGLE_STRETCH: f64 = 2.2;
/// Most that TLS on kept connections may add to it.
const TLS_RATIO_MAX: f64 = 1.25;
/// CPU-seconds for a million events, below which it does everything for less than others do a part of it.
const BATCHED_CPU_MAX: f64 = 6.0;
const SINGLE_CPU_MAX: f64 = 12.0;
/// Milliseconds of the 99th percentile at half of the maximum rate.
const P99_MS_MAX: f64 = 20.0;
/// MiB beside the dedup window, and bytes that one identity of the window is granted: what is remembered of it, unpacked.
const MEMORY_MIB_MAX: f64 = 100.0;
const IDENTITY_BYTES: f64 = 16.0;

/// One line of the verdict.
#[derive(Debug)]
struct Check {
    what: String,
    found: f64,
    most: f64,
    stretch: Option<f64>,
}

impl Check {
    fn line(&self) -> String {
        let Self { what, found, most, stretch } = self;
        let verdict = match (found <= most, stretch) {
            (true, Some(stretch)) if found <= stretch => "met, and the stretch too".to_owned(),
            (true, _) => "met".to_owned(),
            (false, _) if found.is_nan() => "not measured".to_owned(),
            (false, _) => format!("**missed** by {:.0} %", (found / most - 1.0) * 100.0),
        };
        let stretch = stretch.map_or(String::new(), |stretch| format!(" (stretch {stretch})"));
        format!("| {what} | ≤ {most}{stretch} | {} | {verdict} |", short(*found))
    }
}

/// The verdict as a table in Markdown.
pub(crate) fn table(rows: &Rows) -> String {
    let checks: Vec<Check> = [Http::H1, Http::H2].into_iter().flat_map(|http| checks(rows, http)).collect();
    let mut text = String::from("| the gateway, everything on | budget | found | |\n|---|---|---|---|\n");
    for check in checks {
        text.push_str(&check.line());
        text.push('\n');
    }
    text
}

fn checks(rows: &Rows, http: Http) -> Vec<Check> {
    let mut checks = Vec::new();
    for (batch, reference, ratio_max, stretch, cpu_max) in [
        (100, Kind::ParsePlain, BATCHED_MAX, BATCHED_STRETCH, BATCHED_CPU_MAX),
        (1, Kind::Bare, SINGLE_MAX, SINGLE_STRETCH, SINGLE_CPU_MAX),
    ] {
        let Some(plain) = rows.find(Kind::Kinesis, http, false, batch) else { continue };
        let load = format!("{http} × {batch}");
        let mut check = |what: String, found: f64, most: f64, stretch: Option<f64>| {
            checks.push(Check { what: format!("{load}: {what}"), found, most, stretch });
        };
        let ratio = rows.beside(plain, reference).map_or(f64::NAN, |reference| plain.ratio(reference, Sample::cpu));
        check(format!("CPU per event, as a ratio to {}", reference.label()), ratio, ratio_max, Some(stretch));
        check("CPU-seconds per million events".into(), plain.median(Sample::cpu), cpu_max, None);
        let tls = rows.find(Kind::Kinesis, http, true, batch);
        let tls_ratio = tls.map_or(f64::NAN, |tls| tls.ratio(plain, Sample::cpu));
        check("CPU per event over TLS, as a ratio to plain".into(), tls_ratio, TLS_RATIO_MAX, None);
        for row in [Some(plain), tls].into_iter().flatten() {
            let with_tls = if row.tls { ", TLS" } else { "" };
            check(format!("p99 at half of the maximum rate{with_tls}, ms"), row.latency().p99, P99_MS_MAX, None);
        }
        check("peak memory beside the dedup window, MiB".into(), beside_window(plain), MEMORY_MIB_MAX, None);
    }
    checks
}

/// Peak memory less what the window's identities are granted.
fn beside_window(row: &Row) -> f64 {
    row.memory.most - row.identities as f64 * IDENTITY_BYTES / f64::from(1 << 20)
}
