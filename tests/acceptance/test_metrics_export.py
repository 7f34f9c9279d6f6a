"""Metrics for an OpenTelemetry collector: every number that /metrics has, decoded by OpenTelemetry's own protobuf."""

import re
import time

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from events import event, text
from gateway import wait_until
from otlp_collector import Collector, attributes

# A dimensionless metric has no unit.
UNITS = {"seconds": "s", "bytes": "By"}


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.server.shutdown()


def measured(gateways, collector, environment=None, **more):
    settings = {"OTLP_ENDPOINT": collector.url, "TRACE_SAMPLE_RATIO": "0", "METRICS_INTERVAL_SECONDS": "1"} | more
    environment = {f"LAKEGATE__TELEMETRY__{name}": value for name, value in settings.items()} | (environment or {})
    return gateways(environment=environment | {"LAKEGATE__LAKE__FLUSH_AGE_MS": "200", "OTEL_EXPORTER_OTLP_HEADERS": "x-team=menus"})


def samples(exposition: str) -> dict[tuple[str, frozenset], float]:
    """Every sample of the text, by its name and labels."""
    found = {}
    for line in exposition.splitlines():
        if line[0] != "#":
            name, labels, value = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? (\S+)", line).groups()
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            found[name, frozenset((label, value.replace('\\"', '"')) for label, value in pairs)] = float(value)
    return found


def exported(request) -> dict[tuple[str, frozenset], float]:
    """Every number of an export, as the text of /metrics would have it; and that each point is what its kind demands."""
    found = {}
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                unit = UNITS.get(re.sub("_total$", "", metric.name).split("_")[-1], "")
                assert (metric.unit, bool(metric.description)) == (unit, True), metric.name
                if kind != "gauge":
                    assert data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                for point in data.data_points:
                    labels = frozenset(attributes(point).items())
                    assert kind == "gauge" or 0 < point.start_time_unix_nano <= point.time_unix_nano <= time.time_ns()
                    if kind == "histogram":
                        found[f"{metric.name}_count", labels] = point.count
                        found[f"{metric.name}_sum", labels] = point.sum
                        bounds = [*point.explicit_bounds, float("inf")]
                        assert len(bounds) == len(point.bucket_counts) and sum(point.bucket_counts) == point.count
                        below = 0
                        for bound, count in zip(bounds, point.bucket_counts):
                            below += count
                            found[f"{metric.name}_bucket", labels | {("le", bound)}] = below
                    else:
                        assert kind == "gauge" or data.is_monotonic and metric.name.endswith("_total")
                        found[metric.name, labels] = getattr(point, point.WhichOneof("value"))
    return found


def test_every_number_of_the_metrics_is_exported_and_nothing_else(gateways, collector):
    gateway = measured(gateways, collector)
    good = event()
    assert gateway.post(text([good, good, {"event_uuid": "no"}])).counts == (1, 1, 1, 0)
    assert gateway.post("no json").status == 400
    wait_until("it is delivered", 30, lambda: gateway.metrics()["lakegate_delivered_events_total"] == 1)

    def scrape():
        found = samples(gateway.curl("GET", "/metrics", admin=True).body.decode())
        # The bounds as numbers, because OTLP has no texts.
        return {(name, frozenset((label, float(value) if label == "le" else value) for label, value in labels)): number
                for (name, labels), number in found.items() if name != "lakegate_build_info"}

    before, seen = scrape(), len(collector.metrics)
    wait_until("two more exports", 30, lambda: len(collector.metrics) >= seen + 2)
    path, headers, request = collector.metrics[seen + 1]
    after, sent = scrape(), exported(request)
    assert path == "/v1/metrics" and headers["content-type"] == "application/x-protobuf" and headers["x-team"] == "menus"
    assert sent.keys() == after.keys() == before.keys()
    steady = {key: value for key, value in after.items() if before[key] == value}
    assert len(steady) > 0.9 * len(after) and len(after) > 300
    different = {key: (sent[key], value) for key, value in steady.items() if sent[key] != value}
    assert not different, different
    moving = {name for name, _ in after.keys() - steady.keys()}
    assert all(min(before[key], after[key]) <= sent[key] <= max(before[key], after[key])
               for key in after.keys() - steady.keys() if key[0] == "process_cpu_seconds_total"), moving
    assert sent["lakegate_events_received_total", frozenset()] == 3
    resource = attributes(request.resource_metrics[0].resource)
    assert resource["service.name"] == "lakegate" and resource["service.version"]
    assert re.fullmatch(r"[0-9a-f-]{36}", resource["service.instance.id"])


def test_the_last_numbers_come_with_the_end_and_the_environment_names_the_service(gateways, collector):
    environment = {"OTEL_SERVICE_NAME": "menus", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=a,region=eu"}
    gateway = measured(gateways, collector, environment, METRICS_INTERVAL_SECONDS="3600")
    assert gateway.post(text([event() for _ in range(7)])).counts == (7, 0, 0, 0)
    assert not collector.metrics and gateway.stop() == 0
    (_, _, request), = collector.metrics
    assert exported(request)["lakegate_delivered_events_total", frozenset({("sink", "lake")})] == 7
    resource = attributes(request.resource_metrics[0].resource)
    assert (resource["service.name"], resource["service.instance.id"], resource["region"]) == ("menus", "a", "eu")


def test_who_wants_traces_only_is_sent_no_metrics(gateways, collector):
    gateway = measured(gateways, collector, OTLP_METRICS="false", TRACE_SAMPLE_RATIO="1")
    assert gateway.post(text(event())).status == 202
    assert gateway.stop() == 0
    assert collector.requests and not collector.metrics


def test_a_collector_that_does_not_take_metrics_is_counted_and_said_once_and_delays_no_stop(gateways, collector):
    collector.status = 404
    gateway = measured(gateways, collector)
    failures = "lakegate_metric_export_failures_total"
    wait_until("two are counted", 30, lambda: gateway.metrics()[failures] >= 2)
    said = "the collector does not take metrics"
    assert gateway.log.read_text().count(said) == 1 and "HTTP 404" in gateway.log.read_text()
    collector.status = 200
    wait_until("it takes them", 30, lambda: "the collector takes metrics again" in gateway.log.read_text())
    # It takes a part of them only.
    before = gateway.metrics()[failures]
    collector.metrics_answer.partial_success.rejected_data_points = 3
    collector.metrics_answer.partial_success.error_message = "too old"
    wait_until("it is counted", 30, lambda: gateway.metrics()[failures] > before)
    assert "3 numbers were refused: too old" in gateway.log.read_text()
    # It takes connections and says nothing.
    collector.server.shutdown()
    started = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - started < 8
