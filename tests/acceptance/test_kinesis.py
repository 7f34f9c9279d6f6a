"""The gateway in front of Kinesis servers that are not ours, read back with a consumer and decoders that are not ours."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import uuid

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator

from events import event, many_events, new_uuid, post_all, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from kinesis_reader import Reader, bills, event_uuid
from kinesis_servers import SERVERS

FORMATS = ("flat", "envelope")
AGGREGATIONS = ("none", "kpl", "ndjson")
ENVELOPE = [
    "event_uuid", "event_name", "event_type", "event_subtype", "source", "schema_version",
    "created_at", "created_datetime", "created_date", "received_datetime", "payload",
]
RESERVED = {"created_datetime", "event_type", "event_subtype", "received_datetime", "source"}
DATETIME = rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'
ADDED = re.compile(
    rb',"created_datetime":' + DATETIME + rb',"event_type":"[^"]+","event_subtype":(null|"[^"]+"),"received_datetime":'
    + DATETIME + rb',"source":"dev"(,"schema_version":\d+)?}'
)


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    running = SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    yield running
    running.stop()


@pytest.fixture
def stream(server):
    """The name of a new stream with four shards, which is deleted at the end."""
    name = f"events-{uuid.uuid4()}"
    server.create_stream(name, 4)
    yield name
    server.client("kinesis").delete_stream(StreamName=name)


def parsed(data: bytes):
    """JSON whose numbers keep their digits."""
    return json.loads(data, parse_float=str, parse_int=str)


def assert_flat(line: bytes, payload: bytes):
    """The line is the client's object, byte for byte, with the added fields at its end."""
    assert b"\n" not in line and b"\r" not in line
    if not RESERVED.isdisjoint(json.loads(payload)):
        own = {name: value for name, value in parsed(payload).items() if name not in RESERVED}
        read = {name: value for name, value in parsed(line).items() if name not in RESERVED}
        # A client's own number for the version stays; else the gateway may add one.
        assert {**read, "schema_version": own.get("schema_version")} == {**own, "schema_version": own.get("schema_version")}
        assert parsed(line)["source"] == "dev"
        return
    own = payload.strip()[:-1].rstrip().replace(b"\r", b" ").replace(b"\n", b" ")
    assert line.startswith(own), (line, payload)
    assert ADDED.fullmatch(line[len(own) :]), line[len(own) :]


def assert_envelope(line: bytes, payload: bytes):
    """The line has the columns of the lake, and the client's bytes as a string."""
    row, event = json.loads(line), json.loads(payload)
    assert list(row) == ENVELOPE, list(row)
    assert row["payload"].encode() == payload
    parts = event["event_name"].split(":")
    assert row["event_name"] == event["event_name"]
    assert (row["event_type"], row["event_subtype"]) == (parts[0], parts[1] if len(parts) > 1 else None)
    assert row["event_uuid"] == event["event_uuid"].lower()
    assert row["source"] == "dev"
    for name in ("created_datetime", "received_datetime"):
        assert re.fullmatch(DATETIME, json.dumps(row[name]).encode()), row[name]
    assert row["created_date"] in (row["created_datetime"][:10], row["received_datetime"][:10])
    assert row["created_date"] == row["created_datetime"][:10] or row["received_datetime"] > row["created_datetime"]
    assert isinstance(row["created_at"], (int, float))
    assert row["schema_version"] is None or row["schema_version"] >= 1


def assert_exactly(lines: list[bytes], events: dict[str, bytes], form: str):
    """Every event is there once, and untouched."""
    found = [event_uuid(line) for line in lines]
    missing, strange = set(events) - set(found), set(found) - set(events)
    assert not missing and not strange, f"{len(missing)} missing, {len(strange)} strange"
    assert len(found) == len(events), f"{len(found) - len(events)} duplicates"
    for line, name in zip(lines, found):
        (assert_flat if form == "flat" else assert_envelope)(line, events[name])


def test_what_boto3_puts_is_read_back(server, stream):
    """The servers, the reader and the decoder do what the other tests rely on."""
    kinesis = server.client("kinesis")
    lines = [text({"event_uuid": new_uuid(), "n": number}).encode() for number in range(900)]
    plain = [{"Data": line + b"\n", "PartitionKey": event_uuid(line)} for line in lines[:300]]
    packed = [{"Data": b"\n".join(lines[300 + 100 * i :][:100]) + b"\n", "PartitionKey": str(i)} for i in range(3)]
    aggregates = []
    for start in range(600, 900, 50):
        aggregator = RecordAggregator()
        for line in lines[start : start + 50]:
            aggregator.add_user_record(str(start), line + b"\n", "7")
        key, explicit, data = aggregator.clear_and_get().get_contents()
        aggregates.append({"Data": data, "PartitionKey": key, "ExplicitHashKey": explicit})
    answer = kinesis.put_records(StreamName=stream, Records=plain + packed + aggregates)
    assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 309
    reader = Reader(kinesis, stream)
    assert sorted(reader.until(900, seconds=20)) == sorted(lines)
    assert sum(record.is_aggregate for record in reader.records) == 6
    assert all(record.kcl_keeps() for record in reader.records)
    assert len({record.shard_id for record in reader.records}) == 4
    # Keys of their own, without a common explicit hash, are the trap: the decoder reads them, KCL drops them.
    aggregator = RecordAggregator()
    for line in lines[:50]:
        aggregator.add_user_record(event_uuid(line), line + b"\n")
    key, _, data = aggregator.clear_and_get().get_contents()
    kinesis.put_records(StreamName=stream, Records=[{"Data": data, "PartitionKey": key}])
    wait_until("the last aggregate", 20, reader.poll)
    assert len(reader.records[-1].user_records()) == 50 and not reader.records[-1].kcl_keeps()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_accepted_event_is_in_the_stream_once_and_untouched(server, stream, stream_gateway, form, aggregation):
    gateway = stream_gateway(server, stream, format=form, aggregation=aggregation)
    events = many_events(1500, seed=len(form) * 10 + len(aggregation))
    post_all(gateway, list(events.values()), random.Random(1))
    reader = Reader(server.client("kinesis"), stream)
    assert_exactly(reader.until(len(events)), events, form)
    assert gateway.stop() == 0
    assert not reader.poll(), "nothing comes twice when it stops"
    assert all(record.kcl_keeps() for record in reader.records)
    # A few dozen aggregates may miss a shard; see the next test.
    assert len({record.shard_id for record in reader.records}) == 4 or aggregation != "none", "every shard has its part"
    assert any(record.is_aggregate for record in reader.records) == (aggregation == "kpl")
    if aggregation == "none":
        assert all(record.partition_key == event_uuid(record.data) for record in reader.records)
    elif aggregation == "ndjson":
        assert any(len(record.user_records()[0].lines()) > 1 for record in reader.records)


def documented_costs(aggregation: str) -> list[float]:
    """What docs/aws.md says that a million events cost: records, PUT units, on-demand, on-demand Advantage."""
    row = re.search(rf"^\| `{aggregation}` \|(.*)\|$", (ROOT / "docs/aws.md").read_text(), re.M).group(1)
    numbers = [float(number.replace(",", "")) for number in re.findall(r"[\d,]*\.?\d+", row)]
    return [*numbers[:2], *numbers[3:]]


@pytest.mark.parametrize("form", FORMATS)
def test_a_time_as_text_stays_text_in_the_payload_and_is_computed_right_beside_it(server, stream, stream_gateway, form):
    gateway = stream_gateway(server, stream, format=form)
    # As .NET escapes it.
    time = r'"2026-11-19T19:00:03.5\u002B01:00"'
    own = re.sub(r'"created_at":[0-9.]+', lambda _: f'"created_at":{time}', text(event()))
    assert time in own and gateway.post(own).counts == (1, 0, 0, 0)
    [line] = Reader(server.client("kinesis"), stream).until(1)
    found = json.loads(line)
    assert found["created_datetime"] == "2026-11-19T18:00:03.500Z"
    if form == "flat":
        assert line.startswith(own[:-1].encode()), line
    else:
        assert (found["created_at"], found["created_date"], found["payload"]) == (1795111203.5, "2026-11-19", own)


@pytest.mark.parametrize("aggregation", ("kpl", "ndjson"))
def test_aggregation_fills_its_records(server, stream, stream_gateway, aggregation, capsys):
    """Events of 500 B travel at least forty to a record, none is lost to KCL, and the bill says so."""
    gateway = stream_gateway(server, stream, aggregation=aggregation, linger_ms=1000)
    events = {}
    for _ in range(8000):
        own = {"event_uuid": new_uuid(), "event_name": "wild:event:seen", "created_at": 1795029671.5, "pad": ""}
        # With the fields that are added and the line end it has 500 bytes.
        own["pad"] = "x" * (500 - 162 - len(text(own)))
        events[own["event_uuid"]] = text(own).encode()
    payloads = list(events.values())
    for start in range(0, len(payloads), 2000):
        assert gateway.post(b"[" + b",".join(payloads[start : start + 2000]) + b"]").counts == (2000, 0, 0, 0)
    reader = Reader(server.client("kinesis"), stream)
    assert_exactly(reader.until(len(events)), events, "flat")
    assert all(record.kcl_keeps() for record in reader.records)
    measured, sent, single = bills(reader.records)
    with capsys.disabled():
        print(f"\n{server.name}, {aggregation}: {measured}")
    assert sent.row() == pytest.approx(documented_costs(aggregation), rel=0.06)
    assert single.row() == pytest.approx(documented_costs("none"), rel=0.06)
    assert len(events) / len(reader.records) >= 40
    assert len({record.shard_id for record in reader.records}) == 4, "every shard has its part"
    mean = sum(len(line) + 1 for line in reader.lines()) / len(events)
    assert 480 <= mean <= 520, mean


def test_delivered_means_that_the_stream_has_it(server, stream, stream_gateway):
    gateway = stream_gateway(server, stream, linger_ms=20)
    events = many_events(20, seed=3)
    answer = gateway.post(b"[" + b",".join(events.values()) + b"]", prefer="durability=delivered")
    assert answer.status == 202 and answer.counts == (len(events), 0, 0, 0), answer.body
    reader = Reader(server.client("kinesis"), stream)
    reader.poll()
    assert_exactly(reader.lines(), events, "flat")


def checked(gateway) -> tuple[int, dict]:
    """What `lakegate ledger --check stream` finds, and its exit code."""
    command = [str(binary()), "ledger", "--check", "stream", "--since", "1d", "--format", "json", "--data-dir", str(gateway.data)]
    done = subprocess.run(command, env=gateway.environment, capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    [found] = json.loads(done.stdout)
    return done.returncode, found


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_ledger_fits_the_stream_and_names_the_minute_that_does_not(server, stream, stream_gateway, aggregation):
    gateway = stream_gateway(server, stream, aggregation=aggregation, linger_ms=20)
    events = many_events(400, seed=6)
    post_all(gateway, list(events.values()), random.Random(6))
    kinesis = server.client("kinesis")
    reader = Reader(kinesis, stream)
    lines = reader.until(len(events))
    fits = {"delivered": len(events), "events": len(events), "doubles": 0, "waiting": 0, "strangers": 0, "differences": []}
    wait_until("the ledger has them as delivered", 30, lambda: checked(gateway)[1]["delivered"] == len(events))
    code, found = checked(gateway)
    assert code == 0 and {name: found[name] for name in fits} == fits, found
    # A record that is sent twice is a double.
    again = reader.records[0].raw
    kinesis.put_record(StreamName=stream, Data=again["Data"], PartitionKey=again["PartitionKey"])
    code, found = checked(gateway)
    assert code == 0 and found["doubles"] == sum(len(user.lines()) for user in reader.records[0].user_records()), found
    # An event that nobody accepted is one too many.
    foreign = lines[-1].replace(event_uuid(lines[-1]).encode(), new_uuid().encode())
    if foreign == lines[-1]:
        foreign = re.sub(event_uuid(lines[-1]).encode(), new_uuid().encode(), lines[-1], flags=re.IGNORECASE)
    kinesis.put_record(StreamName=stream, Data=foreign + b"\n", PartitionKey="foreign")
    code, found = checked(gateway)
    minute = json.loads(foreign)["received_datetime"][:16] + "Z"
    assert code == 1 and [(one["minute"], one["too_many"]) for one in found["differences"]] == [(minute, 1)], found
    # A stream that was made anew lacks everything.
    kinesis.delete_stream(StreamName=stream)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    server.create_stream(stream, 1)
    code, found = checked(gateway)
    assert code == 1 and sum(one["missing"] for one in found["differences"]) == len(events), found


def test_what_came_before_the_stream_was_there_arrives(server, stream_gateway):
    stream = f"late-{uuid.uuid4()}"
    gateway = stream_gateway(server, stream)
    events = many_events(300, seed=4)
    post_all(gateway, list(events.values()), random.Random(4))

    def reason():
        ready = gateway.curl("GET", "/readyz", admin=True).json()
        return next((one["detail"] for one in ready["reasons"] if stream in one["detail"]), None)

    assert "300 events are spooled" in wait_until("/readyz names the stream", 30, reason)
    server.create_stream(stream, 2)
    reader = Reader(server.client("kinesis"), stream)
    assert_exactly(reader.until(len(events)), events, "flat")
    wait_until("it is ready without reserve", 30, lambda: reason() is None)
    server.client("kinesis").delete_stream(StreamName=stream)


def test_dead_letters_go_to_a_stream_of_their_own(server, stream, stream_gateway):
    letters = f"letters-{uuid.uuid4()}"
    server.create_stream(letters, 1)
    settings = {"LAKEGATE__DEAD_LETTERS__KIND": "kinesis", "LAKEGATE__DEAD_LETTERS__STREAM": letters}
    gateway = stream_gateway(server, stream, more=settings)
    good = many_events(50, seed=5)
    bad = {new_uuid(): number for number in range(50)}
    wrong = [text({"event_uuid": name, "event_name": "wild:event", "n": number}).encode() for name, number in bad.items()]
    answer = gateway.post(b"[" + b",".join([*good.values(), *wrong]) + b"]")
    assert answer.status == 207 and answer.counts == (50, 0, 50, 0), answer.body
    kinesis = server.client("kinesis")
    assert_exactly(Reader(kinesis, stream).until(50), good, "flat")
    found = [json.loads(line) for line in Reader(kinesis, letters).until(50)]
    assert {letter["event_uuid"] for letter in found} == set(bad) and len(found) == 50
    assert {letter["code"] for letter in found} == {"missing_field"}
    assert sorted(letter["raw"].encode() for letter in found) == sorted(wrong)
    kinesis.delete_stream(StreamName=letters)


def test_make_kinesis_shows_records_arriving():
    """The program behind `make kinesis`, with an end."""
    program = [sys.executable, ROOT / "tests/acceptance/kinesis_demo.py", "--listen", "127.0.0.1:0"]
    done = subprocess.run([*program, "--events", "20"], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stream events, 2 shards" in done.stdout
    shown = re.findall(r"^shardId-\d{12}  record of \d+ B, 1 event  {", done.stdout, re.MULTILINE)
    assert len(shown) == 20, done.stdout


def test_make_kinesis_ends_with_ctrl_c(tmp_path):
    program = [sys.executable, ROOT / "tests/acceptance/kinesis_demo.py", "--listen", "127.0.0.1:0"]
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(program, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until(output.read_text, 60, lambda: "1 event " in output.read_text())
    finally:
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(60)
    assert code == 0, output.read_text()
    assert "a million of them are" in output.read_text()
