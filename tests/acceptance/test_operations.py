"""What operators are given: metrics, the dashboard and the alerts over them, the unit for systemd, the container, traces."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_release
import dockerfile
import promql_parser as promql
import pytest
import required
import yaml

from events import event, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from kinesis_servers import Kinesalite
from otlp_collector import Collector, attributes

TOOLS = Path(sys.executable).parent
DASHBOARD = ROOT / "ops/grafana/lakegate.json"
ALERTS = ROOT / "ops/prometheus/alerts.yml"
UNIT = ROOT / "ops/systemd/lakegate.service"

# Series that are there only while a shard throttles or is held back; tests/it/kinesis_shards.rs sees them by name.
WHILE_THROTTLED = {"lakegate_shard_throttled_records_total": {"sink", "shard"}, "lakegate_shard_rate": {"sink", "shard"}}
# Series that are there only for secrets with an end; tests/it/keys/expiry.rs sees them by name.
WHILE_EXPIRING = {
    "lakegate_key_not_after_timestamp_seconds": {"key", "secret"},
    "lakegate_key_expired_requests_total": {"key", "secret"},
}
# What Prometheus itself adds to every series.
SCRAPED = {"instance", "job"}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], env=ENVIRONMENT, capture_output=True, text=True, **options)


def samples(text_of_metrics: str) -> dict[str, set[str]]:
    """Every series name of a scrape, with the names of its labels."""
    found: dict[str, set[str]] = {}
    for line in text_of_metrics.splitlines():
        name, labels = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", line).groups() if line[0] != "#" else (None, None)
        if name:
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


@pytest.fixture(scope="module")
def scraped(contract, tmp_path_factory):
    """What is exposed by a gateway that delivers to a stream, after good events, bad ones and duplicates."""
    from gateway import Gateway
    from kinesis_servers import sink_environment

    server = Kinesalite(tmp_path_factory.mktemp("kinesalite"))
    server.create_stream("events", 2)
    server.create_stream("letters", 1)
    letters = {"LAKEGATE__DEAD_LETTERS__KIND": "kinesis", "LAKEGATE__DEAD_LETTERS__STREAM": "letters"}
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), environment=sink_environment(server, "events") | letters,
                      check=contract.check)
    gateway.start()
    try:
        good = event()
        assert gateway.post(text([good, good, {"event_uuid": "no"}])).counts == (1, 1, 1, 0)
        assert gateway.post("no json").status == 400
        wait_until("it is delivered", 30, lambda: gateway.metrics()["lakegate_delivered_events_total"] == 1)
        wait_until("its dead letter too", 30, lambda: gateway.metrics()["lakegate_dead_letters_delivered_events_total"] == 1)
        yield gateway.curl("GET", "/metrics", admin=True).body.decode()
    finally:
        gateway.stop()
        server.stop()


def dashboard_queries() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    assert len(panels) > 20 and all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    # What Grafana puts in before it asks.
    return [query.replace("$__rate_interval", "5m").replace("$instance", ".+") for query in queries]


def alert_rules() -> list[dict]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def selectors(node):
    """(metric, labels that it is asked for) of every selector below `node`, with the labels that its aggregations keep."""
    if isinstance(node, promql.VectorSelector):
        yield node.name, {matcher.name for matcher in node.matchers.matchers}
        return
    kept = set()
    if isinstance(node, promql.AggregateExpr) and node.modifier:
        kept = set(node.modifier.labels)
    for name in ("lhs", "rhs", "expr", "vector_selector", "vs"):
        if child := getattr(node, name, None):
            yield from ((metric, labels | kept) for metric, labels in selectors(child))
    for child in getattr(node, "args", None) or []:
        yield from ((metric, labels | kept) for metric, labels in selectors(child))


def test_the_dashboard_and_the_alerts_ask_for_metrics_and_labels_that_there_are(scraped):
    there = samples(scraped) | WHILE_THROTTLED | WHILE_EXPIRING
    queries = dashboard_queries() + [rule["expr"] for rule in alert_rules()]
    assert len(queries) > 60
    asked = set()
    for query in queries:
        found = list(selectors(promql.parse(query)))
        assert found, query
        for metric, labels in found:
            assert metric in there, f"{metric} is not exposed: {query}"
            assert labels <= there[metric] | SCRAPED, f"{metric} has no {labels - there[metric] - SCRAPED}: {query}"
            asked.add(metric)
    # And no stage goes unseen: whatever is a histogram is on the dashboard.
    histograms = set(re.findall(r"^# TYPE (\w+) histogram$", scraped, re.MULTILINE))
    unseen = {name for name in histograms if f"{name}_bucket" not in asked and not name.startswith("lakegate_dead_letters_delivery")}
    assert not unseen, unseen


def test_every_metric_says_its_unit_and_what_it_is(scraped):
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", scraped, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\w+) (.+)$", scraped, re.MULTILINE))
    assert kinds.keys() == helps.keys() and len(kinds) > 60
    units = ("seconds", "bytes", "events", "requests", "records", "calls", "letters", "lines", "units", "failures", "retries",
             "panics", "connections", "identities", "segments", "syncs", "reads", "pages", "backlog", "fds", "reloads", "addresses",
             "jumps", "batches", "runs", "files")
    # 0 or 1, a ratio, and the version.
    bare = {"lakegate_ready", "lakegate_sink_up", "lakegate_dead_letters_sink_up", "lakegate_dedup_store_up",
            "lakegate_condition", "lakegate_shard_rate", "lakegate_build", "lakegate_events_received"}
    nameless = {name for name in kinds.keys() - bare if not name.endswith(units)}
    assert not nameless, nameless
    # Every stage of the way was timed: validate, claim, spool and its disk, delivery.
    for stage in ("request", "validate", "dedup_claim", "spool_append", "spool_sync", "delivery"):
        count = re.search(rf"^lakegate_{stage}_seconds_count(?:\{{.*\}})? (\d+)", scraped, re.MULTILINE)
        assert count and int(count[1]) > 0, stage
    assert int(re.search(r"^lakegate_request_events_sum (\d+)", scraped, re.MULTILINE)[1]) == 3


def test_the_alerts_fire_when_they_should_and_not_before():
    rules = alert_rules()
    proven = ALERTS.with_name("alerts_test.yml").read_text()
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        assert f'alertname="{rule["alert"]}"' in proven, f"{rule['alert']} has no test"
    promtool = required.program("promtool", "Debian's package prometheus has it", f"{TOOLS}:{ENVIRONMENT['PATH']}")
    checked = run(promtool, "check", "rules", ALERTS)
    assert checked.returncode == 0 and f"{len(rules)} rules found" in checked.stdout, checked.stdout + checked.stderr
    tested = run(promtool, "test", "rules", ALERTS.with_name("alerts_test.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_unit_is_one_that_systemd_takes_and_its_service_may_do_little(tmp_path):
    analyze = required.program("systemd-analyze", "Debian's package systemd has it")
    unit = tmp_path / UNIT.name
    # It is not installed here; everything else is as it is shipped.
    unit.write_text(UNIT.read_text().replace("ExecStart=/usr/bin/lakegate", f"ExecStart={binary()}"))
    verified = run(analyze, "verify", "--man=no", unit)
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stderr
    exposure = run(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert exposure.returncode == 0, exposure.stdout
    # What it calls is what the program has.
    arguments = re.search(r"^ExecStart=/usr/bin/lakegate (.*)$", UNIT.read_text(), re.MULTILINE)[1].split()
    helped = run(binary(), arguments[0], "--help")
    assert helped.returncode == 0 and all(word in helped.stdout for word in arguments if word.startswith("--"))


# ---- the container ---------------------------------------------------------------------------------------------------


def test_the_dockerfile_is_clean_and_its_image_may_do_little(tmp_path):
    linted = run(TOOLS / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile")
    assert linted.returncode == 0, linted.stdout
    _, final = dockerfile.stages()
    by_word = dict(final)
    assert by_word["USER"] == "65532:65532" and by_word["VOLUME"] == '["/var/lib/lakegate"]'
    assert "RUN" not in by_word, "there is no shell in it"
    assert "lakegate" in by_word["HEALTHCHECK"] and "LAKEGATE__DATA_DIR=/var/lib/lakegate" in by_word["ENV"]
    labels = by_word["LABEL"]
    for name in ("title", "description", "version", "revision", "licenses", "base.name"):
        assert f"org.opencontainers.image.{name}=" in labels, name
    # What is set in it is what the program knows.
    settings = dockerfile.Image().environment()
    config = tmp_path / "lakegate.toml"
    secret = hashlib.sha256(b"s3cret").hexdigest()
    config.write_text(f'[http]\nplaintext = true\n[[keys]]\nname = "web"\nsecret_sha256 = "{secret}"\n')
    command = [binary(), "config", "check"]
    checked = subprocess.run([*command, "--config", config], env=ENVIRONMENT | settings, capture_output=True, text=True)
    assert checked.returncode == 0 and 'listen = "0.0.0.0:8443"' in checked.stdout, checked.stderr
    # Without keys the image listens to nobody.
    checked = subprocess.run(command, env=ENVIRONMENT | settings, capture_output=True, text=True)
    assert checked.returncode == 78 and "no [[keys]] are configured" in checked.stderr


def test_what_the_dockerfile_copies_is_enough_to_build_from(tmp_path):
    """No engine runs here: its steps are walked in a clean folder, with cargo's quick check in place of the release build."""
    build, final = dockerfile.stages()
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    # Each stage has what it copies itself, and no more.
    for name, stage in (("build", build), ("final", final)):
        folder = tmp_path / name
        for word, rest in stage:
            if word == "COPY" and not rest.startswith("--from"):
                *sources, _ = rest.split()
                for source in sources:
                    target = folder / source
                    target.parent.mkdir(parents=True, exist_ok=True)
                    whole = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    whole(ROOT / source, target)
        # And the context has all of it.
        for copied in (path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
            assert any(copied.is_relative_to(path) for path in allowed), f"{copied} is not in the context"
    assert " ops/build-release " in next(rest for word, rest in build if word == "RUN").split("&&")[0]
    assert "--release" in build_release.run(tmp_path / "build", tmp_path).arguments
    # The same crates are checked already by the lints, into the same folder.
    quick = ["cargo", "check", "--locked", "--package", "lakegate", "--bin", "lakegate"]
    target = {"CARGO_TARGET_DIR": str(binary().parents[1])} if binary().parent.name in ("acceptance", "debug") else {}
    built = subprocess.run(quick, cwd=tmp_path / "build", env=ENVIRONMENT | target, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


def test_the_program_needs_no_library_that_the_image_has_not():
    # distroless/cc: glibc and libgcc, and their loader.
    there = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2"}
    # The build of the tests has the feature `kafka`, which links the OpenSSL of this machine; a release is built without it.
    there |= {"libssl.so.3", "libcrypto.so.3"}
    found = run("ldd", binary())
    needed = {line.split()[0] for line in found.stdout.splitlines() if "ld-linux" not in line}
    assert found.returncode == 0 and "libc.so.6" in needed and needed <= there, found.stdout


# ---- traces ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.server.shutdown()


def traced(gateways, collector, environment=None, **more):
    settings = {"OTLP_ENDPOINT": collector.url, "TRACE_SAMPLE_RATIO": "0"} | more
    environment = {f"LAKEGATE__TELEMETRY__{name}": value for name, value in settings.items()} | (environment or {})
    return gateways(environment=environment | {"LAKEGATE__LAKE__FLUSH_AGE_MS": "200", "OTEL_EXPORTER_OTLP_HEADERS": "x-team=menus",
                                               "OTEL_BSP_SCHEDULE_DELAY": "200"})


def test_requests_and_deliveries_are_traced_in_the_trace_of_who_calls(gateways, collector):
    gateway = traced(gateways, collector, TRACE_SAMPLE_RATIO="1")
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    sent = gateway.post(text([event(), event()]), traceparent=f"00-{trace}-{parent}-01", x_request_id="r-1")
    assert sent.counts == (2, 0, 0, 0)
    assert gateway.post("no json").status == 400
    # A traceparent that is none begins a new trace; probes are not traced.
    gateway.post(text(event()), traceparent="00-xyz\t-01")
    assert gateway.curl("GET", "/healthz").status == gateway.curl("GET", "/readyz", admin=True).status == 200
    wait_until("three requests are traced", 30, lambda: len(collector.named("POST /v1/events")) == 3)
    wait_until("so are the deliveries", 30, lambda: sum(
        attributes(span)["messaging.batch.message_count"] for span in collector.named("send lake")) == 3)
    path, headers, _ = collector.requests[0]
    assert path == "/v1/traces" and headers["content-type"] == "application/x-protobuf" and headers["x-team"] == "menus"
    first, second, third = sorted(collector.named("POST /v1/events"), key=lambda span: span.start_time_unix_nano)
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (trace, parent)
    assert attributes(first) == {"http.request.method": "POST", "http.route": "/v1/events",
                                 "http.response.status_code": 202, "lakegate.request_id": "r-1"}
    assert 0 < first.end_time_unix_nano - first.start_time_unix_nano < 60e9 and first.kind == first.SPAN_KIND_SERVER
    assert attributes(second)["http.response.status_code"] == 400
    assert third.trace_id.hex() not in (trace, second.trace_id.hex()) and not third.parent_span_id
    assert {span.name for _, span in collector.spans()} == {"POST /v1/events", "send lake"}
    resource = {item.key: item.value.string_value for item in collector.spans()[0][0].attributes}
    assert resource["service.name"] == "lakegate" and resource["service.version"]


def test_what_is_not_sampled_is_not_sent_unless_the_caller_wants_it_and_the_last_spans_come_with_the_end(gateways, collector):
    gateway = traced(gateways, collector)
    for number in range(20):
        assert gateway.post(text(event()), traceparent=None if number else f"00-{'a' * 32}-{'b' * 16}-01").status == 202
    assert gateway.post(text(event()), traceparent=f"00-{'c' * 32}-{'d' * 16}-00").status == 202
    assert gateway.stop() == 0
    assert [span.trace_id.hex() for _, span in collector.spans()] == ["a" * 32]


def test_a_collector_that_is_away_costs_no_event_and_is_counted(gateways, collector):
    collector.status = 503
    gateway = traced(gateways, collector, TRACE_SAMPLE_RATIO="1")
    assert gateway.post(text(event())).counts == (1, 0, 0, 0)
    wait_until("it is counted", 30, lambda: gateway.metrics()["lakegate_trace_export_failures_total"] >= 1)
    assert gateway.curl("GET", "/readyz").status == 200
    collector.server.shutdown()
    collector.server.server_close()
    assert gateway.post(text([event() for _ in range(50)])).counts == (50, 0, 0, 0)
    assert gateway.stop() == 0


def test_a_collector_over_tls_is_told_only_where_its_certificate_is_trusted(gateways):
    # A certificate for localhost that is there anyway: a gateway's own.
    folder = gateways().certificate.parent
    collector = Collector(tls=folder)
    try:
        strange = traced(gateways, collector, TRACE_SAMPLE_RATIO="1")
        assert strange.post(text(event())).status == 202
        wait_until("it is counted", 30, lambda: strange.metrics()["lakegate_trace_export_failures_total"] >= 1)
        assert not collector.requests
        trusting = {"SSL_CERT_FILE": str(folder / "cert.pem")}
        assert traced(gateways, collector, trusting, TRACE_SAMPLE_RATIO="1").post(text(event())).status == 202
        wait_until("it is told", 30, lambda: collector.named("POST /v1/events"))
    finally:
        collector.server.shutdown()
