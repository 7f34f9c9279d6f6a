//! Metrics as lines for CloudWatch: valid by the specification of the embedded metric format, and their sums are the counters.

use std::{collections::BTreeMap, path::Path, time::Duration};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{
    client::{Post, Wire},
    events, eventually,
    gateway::Setup,
    metrics::Scrape,
};

/// The schema of the specification:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn schema() -> Value {
    let name = |longest| json!({ "type": "string", "minLength": 1, "maxLength": longest });
    // The units of MetricDatum that lines may have.
    let units = ["Seconds", "Microseconds", "Milliseconds", "Bytes", "Percent", "Count", "Bytes/Second", "Count/Second", "None"];
    let metric = json!({
        "type": "object",
        "required": ["Name"],
        "additionalProperties": false,
        "properties": { "Name": name(1024), "Unit": { "enum": units }, "StorageResolution": { "enum": [1, 60] } },
    });
    let directive = json!({
        "type": "object",
        "required": ["Namespace", "Dimensions", "Metrics"],
        "additionalProperties": false,
        "properties": {
            "Namespace": name(1024),
            "Dimensions": {
                "type": "array", "minItems": 1,
                "items": { "type": "array", "minItems": 1, "maxItems": 30, "uniqueItems": true, "items": name(250) },
            },
            "Metrics": { "type": "array", "minItems": 1, "maxItems": 100, "items": metric },
        },
    });
    json!({
        "type": "object",
        "required": ["_aws"],
        "properties": {
            "_aws": {
                "type": "object",
                "required": ["Timestamp", "CloudWatchMetrics"],
                "properties": {
                    "Timestamp": { "type": "integer", "minimum": 1_700_000_000_000_i64 },
                    "CloudWatchMetrics": { "type": "array", "minItems": 1, "items": directive },
                },
            },
        },
    })
}

/// A metric of CloudWatch: its name, and its dimensions with their values.
type Metric = (String, BTreeMap<String, String>);

/// What CloudWatch would have of the lines: all values of each metric, in order.
fn cloudwatch(file: &Path) -> BTreeMap<Metric, Vec<f64>> {
    let schema = jsonschema::validator_for(&schema()).expect("a schema");
    let mut found: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
    let text = std::fs::read_to_string(file).expect("the gateway writes it");
    for line in text.lines().filter(|line| line.contains("\"_aws\"")) {
        assert!(line.len() < 256 * 1024);
        let line: Value = serde_json::from_str(line).expect("JSON");
        schema.validate(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().expect("validated") {
            assert_eq!(directive["Namespace"], "Lakegate");
            for dimensions in directive["Dimensions"].as_array().expect("validated") {
                let value = |name: &Value| {
                    let name = name.as_str().expect("validated");
                    (name.to_owned(), line[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {line}")).to_owned())
                };
                let dimensions: BTreeMap<_, _> = dimensions.as_array().expect("validated").iter().map(value).collect();
                for metric in directive["Metrics"].as_array().expect("validated") {
                    let name = metric["Name"].as_str().expect("validated").to_owned();
                    let values = match &line[&name] {
                        Value::Array(values) => values.clone(),
                        value => vec![value.clone()],
                    };
                    assert!((1..=100).contains(&values.len()));
                    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
                    let numbers: Vec<f64> = values.iter().map(number).collect();
                    found.entry((name, dimensions.clone())).or_default().extend(numbers);
                }
            }
        }
    }
    found
}

fn of(name: &str, dimension: Option<(&str, &str)>) -> Metric {
    let gateway = ("gateway".to_owned(), "menus-prod".to_owned());
    let dimension = dimension.map(|(name, value)| (name.to_owned(), value.to_owned()));
    (name.to_owned(), [gateway].into_iter().chain(dimension).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_cloudwatch_are_valid_and_their_sums_are_the_counters() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("stdout");
    let setup = Setup::new(folder.path().join("data")).set("lake.flush_age_ms", 50).output(&output);
    let setup = setup.set("telemetry.emf_namespace", "Lakegate").set("telemetry.emf_gateway", "menus-prod");
    // Beside the access log, on the same output.
    let gateway = setup.set("telemetry.emf_interval_seconds", 1).set("telemetry.access_log", true).start().await;
    let client = gateway.client();
    let mut connection = client.connect(Wire::H2).await.expect("it is ready");
    let event = || String::from_utf8(events::small(events::identity(&mut Rng::new()))).expect("text");
    let again = event();
    for round in 0..30 {
        let unknown = event().replace("section:reached", "section:unknown");
        let body = [event(), event(), again.clone(), unknown].join("\n");
        connection.post(&Post::lines(body)).await.expect("an answer");
        if round == 15 {
            let is_written = || !cloudwatch(&output).is_empty();
            eventually("a first interval is over", Duration::from_secs(30), async || is_written()).await;
        }
    }
    let scrape = Scrape::when_drained(&gateway).await;
    scrape.assert_ledger();
    gateway.stop().await;

    let found = cloudwatch(&output);
    let sum = |name: &str, dimension| found.get(&of(name, dimension)).map_or(0.0, |values| values.iter().sum::<f64>());
    assert!(found[&of("lakegate_events_received_total", None)].len() >= 2, "several intervals");
    assert_eq!(sum("lakegate_events_received_total", None), 120.0);
    assert_eq!(sum("lakegate_delivered_events_total", None), scrape.number("delivered_events"));
    assert_eq!(sum("lakegate_delivered_events_total", Some(("sink", "lake"))), 61.0);
    for (outcome, count) in ["accepted", "duplicate", "rejected", "retry"].into_iter().zip(scrape.outcomes()) {
        assert_eq!(sum("lakegate_events_total", Some(("outcome", outcome))), count as f64, "{outcome}");
    }
    assert_eq!(sum("lakegate_rejected_events_total", Some(("code", "unknown_event"))), 30.0);
    assert_eq!(sum("lakegate_requests_total", None), 30.0);
    assert_eq!(sum("lakegate_failed_requests_total", None), 0.0);
    let last = |name: &str, dimension| *found[&of(name, dimension)].last().expect("a value");
    // It stops, which is no fault.
    assert_eq!((last("lakegate_ready", None), last("lakegate_conditions", None)), (0.0, 0.0));
    assert_eq!(found[&of("lakegate_ready", None)][0], 1.0);
    assert_eq!((last("lakegate_spool_events", None), last("lakegate_sink_lag_events", Some(("sink", "lake")))), (0.0, 0.0));
    assert_eq!(last("lakegate_condition", Some(("kind", "blocking"))), 0.0);
    assert!(found[&of("lakegate_request_p99_seconds", None)].iter().all(|seconds| (0.0..30.0).contains(seconds)));
    let headroom = &found[&of("lakegate_spool_headroom_seconds", None)];
    assert!(headroom.iter().all(|seconds| (0.0..=30.0 * 86_400.0).contains(seconds)), "{headroom:?}");
    // The lines of the access log are whole beside them.
    let text = std::fs::read_to_string(&output).expect("it is there");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    assert_eq!(lines.iter().filter(|line| line["route"] == "/v1/events").count(), 30);
    let ids: Vec<_> = lines.iter().filter_map(|line| line.get("gateway_id")).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| id.as_str().is_some_and(|id| id.len() == 36)));
}

/// The alarms of `deploy/terraform` look for metrics that an agent, or these lines, bring.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_an_alarm_watches_is_in_the_lines() {
    let terraform = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/terraform/modules/alarms/gateway_alarms.tf");
    let terraform = std::fs::read_to_string(terraform).expect("it is there");
    let quoted = |text: &str, after: &str| -> Option<String> { Some(text.split_once(after)?.1.split('"').nth(1)?.to_owned()) };
    let mut watched: Vec<Metric> = Vec::new();
    for line in terraform.lines() {
        let Some(name) = quoted(line, "metric = ").filter(|name| name.contains('_')) else { continue };
        let dimension = line.split_once("labels = {").map(|(_, labels)| {
            (labels.trim().split(' ').next().unwrap_or_default().to_owned(), quoted(labels, "= ").unwrap_or_default())
        });
        watched.push(of(&name, dimension.as_ref().map(|(name, value)| (&**name, &**value))));
    }
    assert!(watched.len() > 30, "{watched:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("stdout");
    let setup = Setup::new(folder.path().join("data")).output(&output).set("telemetry.emf_namespace", "Lakegate");
    setup.set("telemetry.emf_gateway", "menus-prod").start().await.stop().await;
    let found = cloudwatch(&output);
    // Codes come when they are counted, and letters without a stream have no sink.
    let comes_later =
        [of("lakegate_retry_events_total", Some(("code", "dead_letters_full"))), of("lakegate_dead_letters_sink_up", None)];
    let missing: Vec<_> = watched.iter().filter(|metric| !found.contains_key(metric) && !comes_later.contains(metric)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
