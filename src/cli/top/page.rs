//! What `lakegate top` shows, as headings and rows of text: for the terminal and for plain text.
//!
//! Every text of a configuration or of a gateway (names of keys, shards and sinks, details of conditions) loses here the
//! characters that a terminal would obey.

use super::words::{UNKNOWN, bytes, count, percent, quantile, time};
use crate::{
    json::plain,
    overview::{CodeReport, GatewayReport, LATENCIES, Report, sort_by_number},
};

/// A table: its head, and its rows.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The state of the gateways in a line, and whether it is bad.
pub(super) fn title(report: &Report) -> (String, bool) {
    let away = report.gateways.iter().filter(|gateway| gateway.state == "away").count();
    let said = match &*report.gateways {
        [gateway] => state(gateway),
        all => {
            let ready = all.iter().filter(|gateway| gateway.state == "ready").count();
            let away = if away > 0 { format!(", {away} away") } else { String::new() };
            format!("{ready} of {} gateways are ready{away}", all.len())
        }
    };
    (said, !report.ready)
}

fn state(gateway: &GatewayReport) -> String {
    let address = plain(&gateway.address);
    let since = format!("up {}", time(gateway.uptime_seconds));
    let version = plain(gateway.version.as_deref().unwrap_or(UNKNOWN));
    match gateway.state {
        "ready" => format!("{address}  ready  {since}  {version}"),
        "away" => format!("{address}  does not answer: trying again"),
        _ => format!("{address}  NOT READY  {since}  {version}"),
    }
}

/// What is wrong, in words: what blocks comes first. Each line with whether it is bad.
pub(super) fn conditions(report: &Report) -> Vec<(String, bool)> {
    let is_fleet = report.gateways.len() > 1;
    let at = |gateway: &str| if is_fleet { format!("{gateway}: ") } else { String::new() };
    let away = report.gateways.iter().filter_map(|gateway| Some((gateway, gateway.error.as_ref()?)));
    let mut lines: Vec<(String, bool)> =
        away.map(|(gateway, error)| (plain(&format!("! {}{error}", at(&gateway.address))), true)).collect();
    let restarted = report.gateways.iter().filter(|gateway| gateway.restarted);
    lines.extend(restarted.map(|gateway| (plain(&format!("~ {}has just been started", at(&gateway.address))), false)));
    for condition in &report.conditions {
        let mark = if condition.blocks { '!' } else { '~' };
        let place = if condition.place.is_empty() { String::new() } else { format!(" [{}]", condition.place) };
        let line = format!("{mark} {}{}{place}: {}", at(&condition.gateway), condition.code, condition.detail);
        lines.push((plain(&line), condition.blocks));
    }
    lines.sort_by_key(|(_, is_bad)| !is_bad);
    lines
}

/// Names with their values.
pub(super) type Pairs = Vec<(&'static str, String)>;

/// The rates of events.
pub(super) fn events(report: &Report) -> Pairs {
    let events = &report.events;
    let replayed = events.replayed_per_second.filter(|rate| *rate > 0.0);
    let mut pairs = vec![
        ("received", count(events.received_per_second)),
        ("accepted", count(events.accepted_per_second)),
        ("duplicate", count(events.duplicate_per_second)),
        ("rejected", count(events.rejected_per_second)),
        ("retry", count(events.retry_per_second)),
    ];
    pairs.extend(replayed.map(|rate| ("replayed", count(Some(rate)))));
    pairs
}

/// The rates of requests.
pub(super) fn requests(report: &Report) -> Pairs {
    let requests = &report.requests;
    vec![
        ("all", count(requests.per_second)),
        ("refused (4xx)", count(requests.refused_per_second)),
        ("failed (5xx)", count(requests.failed_per_second)),
        ("connections", count(report.process.connections)),
    ]
}

/// The quantiles of times.
pub(super) fn latency(report: &Report) -> Table {
    let row = |(name, _): (&'static str, &str)| {
        let quantiles = report.latency[name].quantiles.map(quantile);
        [vec![name.to_owned()], quantiles.to_vec()].concat()
    };
    Table { head: vec!["latency", "p50", "p90", "p99"], rows: LATENCIES.into_iter().map(row).collect() }
}

/// What waits, and the room that is left.
pub(super) fn spool(report: &Report) -> Pairs {
    let spool = &report.spool;
    let used = spool.bytes.zip(spool.quota_bytes).filter(|(_, quota)| *quota > 0.0).map(|(bytes, quota)| bytes / quota);
    vec![
        ("waiting", format!("{} events, {}", count(spool.lag_events), bytes(spool.lag_bytes))),
        ("oldest", time(spool.oldest_seconds)),
        ("spool", format!("{} ({} of its quota)", bytes(spool.bytes), percent(used))),
        ("full in", spool.headroom_seconds.map_or_else(|| UNKNOWN.to_owned(), |seconds| time(Some(seconds)))),
        ("disk left", bytes(spool.disk_left_bytes)),
        (
            "memory",
            format!("{}, bodies {}", bytes(report.process.resident_memory_bytes), bytes(report.process.request_bodies_bytes)),
        ),
    ]
}

/// The gateways, if there are several.
pub(super) fn gateways(report: &Report) -> Option<Table> {
    let row = |gateway: &GatewayReport| {
        vec![
            plain(&gateway.address),
            gateway.state.replace('_', " "),
            count(gateway.received_events_per_second),
            count(gateway.lag_events),
            time(gateway.lag_seconds),
            time(gateway.uptime_seconds),
        ]
    };
    let head = vec!["gateway", "state", "events/s", "waiting", "oldest", "up"];
    (report.gateways.len() > 1).then(|| Table { head, rows: report.gateways.iter().map(row).collect() })
}

/// The sinks.
pub(super) fn sinks(report: &Report) -> Table {
    let rows = report.sinks.iter().map(|sink| {
        vec![
            plain(&sink.sink),
            if sink.up { "up" } else { "DOWN" }.to_owned(),
            count(sink.delivered_events_per_second),
            count(sink.lag_events),
            time(sink.lag_seconds),
            count(sink.retries_per_second),
            count(sink.refused_events_per_second),
            count(sink.dropped_events_per_second),
        ]
    });
    Table {
        head: vec!["sink", "state", "events/s", "waiting", "oldest", "retries/s", "refused/s", "dropped/s"],
        rows: rows.collect(),
    }
}

/// The keys.
pub(super) fn keys(report: &Report) -> Table {
    let rows = report.keys.iter().map(|key| {
        vec![
            plain(&key.key),
            count(Some(key.events_per_second)),
            percent(key.rejected_share),
            count(Some(key.refused_requests_per_second)),
        ]
    });
    Table { head: vec!["key", "events/s", "rejected", "refused/s"], rows: rows.collect() }
}

/// The shards.
pub(super) fn shards(report: &Report) -> Table {
    let is_one_sink = report.shards.iter().all(|shard| shard.sink == report.shards[0].sink);
    let rows = report.shards.iter().map(|shard| {
        let name = short(&shard.shard);
        vec![
            plain(&if is_one_sink { name.to_owned() } else { format!("{}: {name}", shard.sink) }),
            count(Some(shard.throttled_records_per_second)),
            shard.rate.map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{rate:.2}")),
            count(Some(shard.waiting_events)),
        ]
    });
    Table { head: vec!["shard", "throttled/s", "rate", "waiting"], rows: rows.collect() }
}

/// `shardId-000000000012` of Kinesis is 12.
fn short(shard: &str) -> &str {
    let Some(number) = shard.strip_prefix("shardId-") else { return shard };
    match number.trim_start_matches('0') {
        "" => "0",
        number => number,
    }
}

/// Why events and requests are not accepted.
pub(super) fn codes(report: &Report) -> Table {
    let of = |what: &'static str, codes: &[CodeReport]| -> Vec<(f64, Vec<String>)> {
        let row = |code: &CodeReport| vec![plain(&code.code), what.to_owned(), count(Some(code.per_second))];
        codes.iter().map(|code| (code.per_second, row(code))).collect()
    };
    let mut rows = [of("rejected", &report.rejections), of("retry", &report.retries), of("refused", &report.refusals)].concat();
    sort_by_number(&mut rows, |(rate, _)| *rate);
    Table { head: vec!["code", "outcome", "per s"], rows: rows.into_iter().map(|(_, row)| row).collect() }
}
