//! What is shown of real expositions: figures, text, and the terminal at two sizes.

use std::time::{Duration, Instant};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::{
    draw::draw,
    poll::{Fleet, Target},
    text::text,
    view::{KeyOrder, View},
};
use crate::{
    conditions::Condition,
    outcome::{Outcome, RejectCode, Rejection, RetryCause},
    overview::{GatewayReport, Polled, ProcessReport, Readiness, Reason, Report},
    telemetry::{AcceptedEvents, Exposition, Metrics},
};

fn rejected(code: RejectCode) -> Outcome {
    Outcome::Rejected(Box::new(Rejection::new(code, "", "")))
}

fn answer(metrics: &Metrics, at: Instant) -> Polled {
    let exposition = Exposition::parse(&metrics.exposition()).unwrap();
    Polled { at, exposition, readiness: Readiness { ready: true, reasons: Vec::new() } }
}

fn fleet(count: usize) -> Fleet {
    Fleet::new((1..=count).map(|n| Target::Named(format!("10.0.0.{n}:9090"))).collect())
}

/// What a gateway counts within two seconds.
fn work(metrics: &Metrics) {
    for _ in 0..200 {
        metrics.count_outcomes(&"web".into(), &AcceptedEvents::default(), vec![Outcome::Accepted; 10].iter());
        metrics.count_request("/v1/events", 202);
        metrics.request_seconds.observe(0.003);
        metrics.spool_append_seconds.observe(0.000_1);
    }
    // A name of a key or a shard must not move the cursor.
    let noisy = [rejected(RejectCode::UnknownEvent), Outcome::Retry(RetryCause::Busy), Outcome::Duplicate, Outcome::Accepted];
    for _ in 0..10 {
        metrics.count_outcomes(&"pos\u{1b}[2J".into(), &AcceptedEvents::default(), noisy.iter());
        metrics.count_refused(Some(&"pos\u{1b}[2J".into()), "rate_limited");
        metrics.count_request("/v1/events", 429);
        metrics.count_refused(None, "unknown_key");
        metrics.count_request("/v1/events", 401);
    }
    metrics.count_request("/v1/events", 503);
    let sink = metrics.delivery.of("kinesis");
    sink.delivered_events.inc_by(1800);
    sink.retries.inc_by(4);
    sink.seconds.observe(0.05);
    (0..20).for_each(|_| sink.shard_throttled("shardId-000000000001"));
}

fn set_gauges(metrics: &Metrics) {
    metrics.connections.set(12);
    metrics.spool_events.set(220);
    metrics.spool_lag_bytes.set(110_000);
    metrics.spool_bytes.set(1 << 20);
    metrics.spool_quota_bytes.set(10 << 30);
    metrics.spool_disk_left_bytes.set(50 << 30);
    metrics.spool_oldest_seconds.set(0.4);
    metrics.spool_headroom_seconds.set(26_000.0);
    let sink = metrics.delivery.of("kinesis");
    sink.lag_events.set(220);
    sink.lag_seconds.set(0.4);
    sink.set_shard("shardId-000000000000", 20, None);
    sink.set_shard("shardId-000000000001", 200, Some(0.75));
}

fn watched() -> (Metrics, Fleet) {
    let metrics = Metrics::new();
    let (mut fleet, start) = (fleet(1), Instant::now());
    work(&metrics);
    fleet.watched[0].take(Ok(answer(&metrics, start)));
    set_gauges(&metrics);
    work(&metrics);
    let mut now = answer(&metrics, start + Duration::from_secs(2));
    let detail = "kinesis: timed out\u{9b}2J; 220 events are spooled".to_owned();
    let code = Condition::SinkUnreachable.code().to_owned();
    now.readiness.reasons.push(Reason { code, blocks: false, place: String::new(), detail });
    fleet.watched[0].take(Ok(now));
    (metrics, fleet)
}

/// Without what differs from run to run.
fn recorded(fleet: &Fleet) -> Report {
    let mut report = Report::of(&fleet.watched);
    report.time = "2026-11-28T12:00:00Z".to_owned();
    for gateway in &mut report.gateways {
        (gateway.uptime_seconds, gateway.version) = (Some(273_000.0), Some("0.1.0".to_owned()));
    }
    let memory = Some(64.0 * 1024.0 * 1024.0);
    report.process = ProcessReport {
        resident_memory_bytes: memory,
        connections: Some(12.0),
        request_bodies_bytes: Some(0.0),
        ..report.process
    };
    report
}

#[test]
fn the_figures_are_what_was_counted_divided_by_the_time() {
    let (_, fleet) = watched();
    let report = Report::of(&fleet.watched);
    let events = &report.events;
    assert_eq!((events.received_per_second, events.accepted_per_second), (Some(1020.0), Some(1005.0)));
    assert_eq!(
        (events.duplicate_per_second, events.rejected_per_second, events.retry_per_second),
        (Some(5.0), Some(5.0), Some(5.0))
    );
    assert_eq!(events.delivered_per_second, Some(900.0));
    let requests = &report.requests;
    assert_eq!(
        (requests.per_second, requests.refused_per_second, requests.failed_per_second),
        (Some(110.5), Some(10.0), Some(0.5))
    );
    let keys: Vec<_> =
        report.keys.iter().map(|key| (&*key.key, key.events_per_second, key.refused_requests_per_second)).collect();
    assert_eq!(keys, [("web", 1000.0, 0.0), ("pos\u{1b}[2J", 20.0, 5.0), ("-", 0.0, 5.0)]);
    assert_eq!((report.keys[1].rejected_share, report.keys[2].rejected_share), (Some(0.25), None));
    let hot = &report.shards[0];
    assert_eq!(
        (&*hot.shard, hot.throttled_records_per_second, hot.rate, hot.waiting_events),
        ("shardId-000000000001", 10.0, Some(0.75), 200.0)
    );
    let sink = &report.sinks[0];
    assert_eq!((&*sink.sink, sink.up, sink.lag_events, sink.retries_per_second), ("kinesis", true, Some(220.0), Some(2.0)));
    assert_eq!(report.latency["append"].p99_seconds, Some(0.000_25), "the first bucket");
    assert!(report.latency["request"].p50_seconds.is_some_and(|seconds| (0.002..0.004).contains(&seconds)));
    assert_eq!(report.latency["sync"].p99_seconds, None, "nothing was synced");
    assert_eq!((report.rejections[0].code.as_str(), report.rejections[0].per_second), ("unknown_event", 5.0));
    assert_eq!(report.refusals.len(), 2);
    assert_eq!((report.ready, report.gateways[0].interval_seconds), (true, Some(2.0)));
}

#[test]
fn nothing_is_said_of_rates_before_the_second_poll() {
    let metrics = Metrics::new();
    work(&metrics);
    let mut fleet = fleet(1);
    fleet.watched[0].take(Ok(answer(&metrics, Instant::now())));
    let report = Report::of(&fleet.watched);
    assert_eq!((report.events.received_per_second, report.requests.refused_per_second), (None, None));
    assert_eq!((report.gateways[0].state, report.gateways[0].interval_seconds), ("ready", None));
    assert!(text(&report).contains("received –"), "{}", text(&report));
}

#[test]
fn a_restart_shows_no_negative_and_no_absurd_rate() {
    let (_, mut fleet) = watched();
    let started_again = Metrics::new();
    started_again.count_outcomes(&"web".into(), &AcceptedEvents::default(), vec![Outcome::Accepted; 3].iter());
    let later = fleet.watched[0].last.as_ref().unwrap().at + Duration::from_secs(1);
    fleet.watched[0].take(Ok(answer(&started_again, later)));
    let report = Report::of(&fleet.watched);
    assert_eq!((report.events.received_per_second, report.events.delivered_per_second), (Some(3.0), Some(0.0)));
    assert!(report.gateways[0].restarted && text(&report).contains("has just been started"), "{}", text(&report));
}

#[test]
fn a_gateway_that_is_away_is_said_and_counted_from_its_last_answer_when_it_is_back() {
    let (metrics, mut fleet) = watched();
    let before = fleet.watched[0].last.as_ref().unwrap().at;
    fleet.watched[0].take(Err("nothing answers on 10.0.0.1:9090".to_owned()));
    let report = Report::of(&fleet.watched);
    assert_eq!((report.ready, report.gateways[0].state, report.events.received_per_second), (false, "away", None));
    assert!(!fleet.have_all_answered());
    let shown = text(&report);
    assert!(shown.contains("does not answer: trying again") && shown.contains("! nothing answers on 10.0.0.1:9090"), "{shown}");
    work(&metrics);
    fleet.watched[0].take(Ok(answer(&metrics, before + Duration::from_secs(10))));
    assert_eq!(Report::of(&fleet.watched).events.received_per_second, Some(204.0));
}

#[test]
fn several_gateways_are_added_and_each_has_a_row() {
    let (one, start) = (Metrics::new(), Instant::now());
    let mut fleet = fleet(3);
    fleet.watched[0].take(Ok(answer(&one, start)));
    fleet.watched[1].take(Ok(answer(&one, start)));
    work(&one);
    set_gauges(&one);
    fleet.watched[0].take(Ok(answer(&one, start + Duration::from_secs(2))));
    one.spool_oldest_seconds.set(9.0);
    one.spool_headroom_seconds.set(100.0);
    fleet.watched[1].take(Ok(answer(&one, start + Duration::from_secs(1))));
    fleet.watched[2].take(Err("nothing answers".to_owned()));
    let report = Report::of(&fleet.watched);
    assert_eq!(report.events.received_per_second, Some(1020.0 + 2040.0));
    assert_eq!((report.spool.lag_events, report.spool.oldest_seconds), (Some(440.0), Some(9.0)));
    assert_eq!((report.spool.headroom_seconds, report.sinks[0].lag_events), (Some(100.0), Some(440.0)));
    assert_eq!(report.gateways.iter().map(|gateway| gateway.state).collect::<Vec<_>>(), ["ready", "ready", "away"]);
    let shown = text(&report);
    assert!(shown.contains("2 of 3 gateways are ready, 1 away") && shown.contains("10.0.0.3:9090   away"), "{shown}");
}

fn drawn(view: &View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let rows = terminal.backend().buffer().content().chunks(width.into()).map(|row| {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn golden(name: &str) -> String {
    std::fs::read_to_string(format!("{}/src/cli/top/tests/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn view(fleet: &Fleet) -> View {
    let mut view = View::default();
    for rate in [None, Some(500.0), Some(1000.0), Some(0.0), Some(250.0)] {
        let mut report = recorded(fleet);
        report.events.received_per_second = rate;
        view.take(report);
    }
    view.take(recorded(fleet));
    view
}

#[test]
fn the_terminal_shows_everything_in_80_columns_and_24_rows() {
    let shown = drawn(&view(&watched().1), 80, 24);
    assert_eq!(shown.trim_end(), golden("80x24.txt").trim_end(), "\n{shown}\n");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn a_larger_terminal_shows_more() {
    let shown = drawn(&view(&watched().1), 120, 40);
    assert_eq!(shown.trim_end(), golden("120x40.txt").trim_end(), "\n{shown}\n");
}

#[test]
fn a_terminal_that_is_too_small_shows_the_beginning() {
    let view = view(&watched().1);
    for (width, height) in [(10, 3), (40, 10), (300, 100)] {
        assert!(drawn(&view, width, height).starts_with('l'), "{width} x {height}");
    }
    assert_eq!(drawn(&view, 1, 1).chars().count(), 1);
    assert!(drawn(&View::default(), 80, 24).contains("asking"));
}

#[test]
fn many_conditions_leave_room_for_the_figures() {
    let (_, mut fleet) = watched();
    let reason = |n: usize| Reason { code: format!("code_{n}"), blocks: n == 39, place: "disk".into(), detail: "why".into() };
    fleet.watched[0].last.as_mut().unwrap().readiness = Readiness { ready: false, reasons: (0..40).map(reason).collect() };
    let shown = drawn(&view(&fleet), 80, 24);
    assert!(shown.contains("NOT READY") && shown.contains("! code_39 [disk]: why") && shown.contains("… and 37 more"), "{shown}");
    assert!(shown.contains("received 1.0k"), "{shown}");
}

#[test]
fn keys_pause_sort_and_end() {
    let (_, fleet) = watched();
    let mut view = view(&fleet);
    let press = |view: &mut View, code, modifiers| view.obey(KeyEvent::new(code, modifiers));
    let none = KeyModifiers::NONE;
    assert!(press(&mut view, KeyCode::Char('k'), none) && press(&mut view, KeyCode::Char('k'), none));
    assert_eq!(view.key_order, KeyOrder::Refused);
    assert_eq!(view.report.as_ref().unwrap().keys[0].key, "pos\u{1b}[2J");
    assert!(press(&mut view, KeyCode::Char('s'), none) && press(&mut view, KeyCode::Char('x'), none));
    assert!(press(&mut view, KeyCode::Char('p'), none) && view.is_paused);
    let mut later = recorded(&fleet);
    later.time = "2026-11-28T12:00:01Z".to_owned();
    view.take(later.clone());
    assert_eq!(view.report.as_ref().unwrap().time, "2026-11-28T12:00:00Z", "what is read stays");
    assert!(press(&mut view, KeyCode::Char(' '), none) && !view.is_paused);
    view.take(later);
    assert_eq!(view.report.as_ref().unwrap().time, "2026-11-28T12:00:01Z");
    assert_eq!(view.report.as_ref().unwrap().keys[0].key, "pos\u{1b}[2J", "a new report is sorted too");
    assert!(!press(&mut view, KeyCode::Char('q'), none) && !press(&mut view, KeyCode::Esc, none));
    assert!(!press(&mut view, KeyCode::Char('c'), KeyModifiers::CONTROL) && press(&mut view, KeyCode::Char('c'), none));
}

#[test]
fn the_interval_is_a_time_within_its_limits() {
    let said = |text: &str| super::interval(text).map(|interval| interval.as_millis());
    assert_eq!([said("500ms"), said("2"), said("1.5s"), said("1m")], [Ok(500), Ok(2000), Ok(1500), Ok(60_000)]);
    assert!(said("10ms").unwrap_err().contains("100 ms to 3600 s"));
    assert!(said("2h").is_err() && said("").is_err() && said("-1").is_err() && said("nan").is_err());
}

#[test]
fn a_report_without_any_gateway_is_json_too() {
    let report = Report { gateways: vec![GatewayReport { state: "away", ..GatewayReport::default() }], ..Report::default() };
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["events"]["received_per_second"], serde_json::Value::Null);
    assert_eq!(document["gateways"][0]["state"], "away");
}
