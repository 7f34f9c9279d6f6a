"""Delivery to Kafka, against two brokers that are not ours, read back by the client of Confluent; TLS and SASL through a proxy."""

import json
import random
import signal
import subprocess

import pytest
from events import event, many_events, new_uuid, post_all, text
from gateway import Gateway, wait_until
from kafka_brokers import BROKERS, MockCluster, Proxy, Tansu, jwt, read_all

EVENTS = 1500


@pytest.fixture(params=BROKERS.values(), ids=BROKERS)
def broker(request, tmp_path):
    broker = request.param(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def gateway_for(tmp_path):
    started = []

    def start(servers: str, **keys) -> Gateway:
        keys = {"bootstrap_servers": servers, "topic": "events", "linger_ms": 20} | keys
        settings = {f"LAKEGATE__KAFKA__{key.upper()}": str(value) for key, value in keys.items()}
        settings |= {"LAKEGATE__SINK__KIND": "kafka", "LAKEGATE__SCHEMAS__UNKNOWN_EVENTS": "accept"}
        gateway = Gateway(tmp_path, environment=settings).start()
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.stop()


def metric(gateway: Gateway, name: str) -> float:
    lines = gateway.curl("GET", "/metrics", admin=True).body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name) and not line.startswith("#"))


def drained(gateway: Gateway):
    def said():
        readiness = gateway.curl("GET", "/readyz", admin=True).body.decode()
        return f"all is delivered: {metric(gateway, 'lakegate_spool_events')} are left\n{readiness}"

    wait_until(said, 60, lambda: metric(gateway, "lakegate_spool_events") == 0)


@pytest.mark.parametrize("format", ["flat", "cloudevents"])
def test_what_is_accepted_arrives_once_under_its_key(broker, gateway_for, format):
    broker.create("events", 4)
    gateway = gateway_for(broker.servers, format=format)
    sent, rng = many_events(EVENTS, 7), random.Random(7)
    post_all(gateway, list(sent.values()), rng)
    drained(gateway)
    found = read_all(broker, "events", len(sent))
    assert sorted(message.key().decode() for message in found) == sorted(sent)
    for message in found:
        wrote = sent[message.key().decode()]
        if format == "cloudevents":
            assert message.value() == wrote
            headers = {name: value.decode() for name, value in message.headers()}
            assert headers["ce_id"] == message.key().decode() and headers["ce_specversion"] == "1.0"
            assert headers["ce_type"] == json.loads(wrote)["event_name"]
        else:
            assert json.loads(message.value())["event_uuid"].lower() == message.key().decode()
    assert metric(gateway, "lakegate_maybe_duplicate_events_total") == 0


def test_a_kill_under_load_loses_nothing(broker, gateway_for):
    broker.create("events", 4)
    sent, rng = {}, random.Random(11)
    for seed in range(4):
        gateway = gateway_for(broker.servers)
        more = many_events(400, seed)
        sent |= more
        post_all(gateway, list(more.values()), rng)
        # What is acknowledged is on disk, and delivery is under way.
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
    gateway = gateway_for(broker.servers)
    drained(gateway)
    found = [message.key().decode() for message in read_all(broker, "events", len(sent))]
    assert set(found) == set(sent)


def test_a_broker_that_does_not_answer_is_waited_for(tmp_path, gateway_for):
    broker = MockCluster(tmp_path)
    try:
        broker.create("events", 2)
        gateway = gateway_for(broker.servers, delivery_timeout_ms=2000)
        # `timeout` is the parent of the brokers' process.
        child = int(subprocess.run(["pgrep", "-P", str(broker.process.pid)], capture_output=True, text=True, check=True).stdout)
        subprocess.run(["kill", "-STOP", str(child)], check=True)
        uuids = [new_uuid() for _ in range(50)]
        answer = gateway.post(text([event(event_uuid=uuid) for uuid in uuids]))
        assert answer.status == 202
        reasons = lambda: gateway.curl("GET", "/readyz", admin=True).json()["reasons"]  # noqa: E731
        wait_until(lambda: f"it is said: {reasons()}", 60, lambda: any(reason["code"] == "sink_unreachable" for reason in reasons()))
        subprocess.run(["kill", "-CONT", str(child)], check=True)
        drained(gateway)
        found = [message.key().decode() for message in read_all(broker, "events", len(uuids))]
        assert set(found) == set(uuids)
        counted = metric(gateway, "lakegate_maybe_duplicate_events_total")
        assert len(found) - len(uuids) <= counted, f"{len(found)} records of {len(uuids)} events, {counted} may be doubles"
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )
    return files


SECRETS = {"user": "gateway", "password": "s3cret,=", "token": jwt(900)}


@pytest.mark.parametrize("mechanism", [None, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
def test_brokers_with_tls_and_sasl_are_reached_and_a_wrong_secret_is_told(tmp_path, gateway_for, certificate, mechanism):
    proxy = Proxy(certificate, mechanism, **SECRETS)
    broker = Tansu(tmp_path, advertised=f"localhost:{proxy.port}")
    proxy.broker_port = broker.port
    settings = {"tls": "true", "ca": certificate[0], "sasl": (mechanism or "none").lower()}
    token_file = tmp_path / "token"
    if mechanism == "OAUTHBEARER":
        token_file.write_text(SECRETS["token"])
        settings["token_file"] = token_file
    elif mechanism:
        settings |= {"username": SECRETS["user"], "password": SECRETS["password"]}
    client = {"security.protocol": "sasl_ssl" if mechanism else "ssl", "ssl.ca.location": str(certificate[0])}
    if mechanism == "OAUTHBEARER":
        client |= {"oauth_cb": lambda _: (SECRETS["token"], 4e9)}
    if mechanism:
        client |= {"sasl.mechanism": mechanism, "sasl.username": SECRETS["user"], "sasl.password": SECRETS["password"]}
        if mechanism == "OAUTHBEARER":
            del client["sasl.username"], client["sasl.password"]
    broker.client = lambda **more: {"bootstrap.servers": broker.servers} | client | more
    try:
        broker.create("events", 2)
        uuids = [new_uuid() for _ in range(100)]
        if mechanism == "SCRAM-SHA-256":
            wrong = gateway_for(broker.servers, **settings | {"password": "wrong"})
            assert wrong.post(text([event(event_uuid=uuid) for uuid in uuids[:50]])).status == 202
            told = lambda: wrong.curl("GET", "/readyz", admin=True).body.decode()  # noqa: E731
            wait_until(lambda: f"it is said: {told()}", 60, lambda: "sink_unreachable" in told())
            assert proxy.refused > 0 and "wrong" not in wrong.log.read_text()
            # A stop would wait for the delivery of what is left.
            wrong.process.kill()
            wrong.process.wait()
            gateway, left = gateway_for(broker.servers, **settings), uuids[50:]
        else:
            gateway, left = gateway_for(broker.servers, **settings), uuids
        assert gateway.post(text([event(event_uuid=uuid) for uuid in left])).status == 202
        drained(gateway)
        found = read_all(broker, "events", len(uuids))
        assert sorted(message.key().decode() for message in found) == sorted(uuids)
    finally:
        broker.stop()
        proxy.stop()
