"""The rest of the lake, on MiniStack: stream, Firehose (or Firehose alone), Parquet in a bucket, and Athena over it. See
firehose/README.md."""

import json
import random
import re
import string
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from events import many_events, new_uuid, post_all, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from kinesis_servers import REGION, MiniStack

FILES = Path(__file__).parent / "firehose"
COUNTS = "SELECT event_type, created_date, count(*) FROM events GROUP BY event_type, created_date"


class Lake:
    """The stream, the delivery stream, the bucket and the table, made of the files in firehose/."""

    def __init__(self, server: MiniStack, name: str, is_direct: bool = False):
        self.server, self.stream, self.bucket, self.database = server, f"{name}-stream", f"{name}-lake", name
        self.delivery_stream = f"{name}-delivery"
        self.athena, self.s3, self.kinesis = (server.client(service) for service in ("athena", "s3", "kinesis"))
        self.s3.create_bucket(Bucket=self.bucket)
        if not is_direct:
            server.create_stream(self.stream, 2)
        server.client("glue").create_database(DatabaseInput={"Name": self.database})
        self.views = {}
        self.create_tables()
        names = {
            "NAME": self.delivery_stream, "REGION": REGION, "ACCOUNT": server.client("sts").get_caller_identity()["Account"],
            "STREAM": self.stream, "BUCKET": self.bucket, "DATABASE": self.database,
        }
        iam = server.client("iam")
        role = iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=filled("role-trust.json", names))
        policy = filled("role-policy.json", names)
        iam.put_role_policy(RoleName=f"{name}-role", PolicyName="deliver", PolicyDocument=policy)
        names["ROLE_ARN"] = role["Role"]["Arn"]
        delivery_stream = json.loads(filled("delivery-stream.json", names))
        if is_direct:
            del delivery_stream["KinesisStreamSourceConfiguration"]
            delivery_stream["DeliveryStreamType"] = "DirectPut"
        server.client("firehose").create_delivery_stream(**delivery_stream)

    def create_tables(self):
        """Runs the statements that `lakegate lake views` prints. Views are kept here, MiniStack forgets them."""
        command = [binary(), "lake", "views", "--dialect", "athena", "--schemas", ROOT / "schemas"]
        command += ["--lake", f"s3://{self.bucket}/events"]
        printed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
        for statement in re.split(r";\n", re.sub(r"^--.*\n", "", printed, flags=re.MULTILINE)):
            view = re.match(r'\s*CREATE OR REPLACE VIEW "?(\w+)"? AS\n', statement)
            if view:
                self.views[view[1]] = statement[view.end() :]
            elif statement.strip():
                self.run(statement)

    def query(self, sql: str) -> list[list]:
        """The rows; the views of the gateway's are there."""
        views = ",\n".join(f"{name} AS ({self.views[name]})" for name in ("events_raw", "events"))
        return self.run(f"WITH {views}\n{sql}")

    def run(self, sql: str) -> list[list]:
        query = self.athena.start_query_execution(
            QueryString=sql,
            QueryExecutionContext={"Database": self.database},
            ResultConfiguration={"OutputLocation": f"s3://{self.bucket}/results/"},
        )["QueryExecutionId"]

        def ended():
            status = self.athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
            return status if status["State"] in ("SUCCEEDED", "FAILED", "CANCELLED") else None

        status = wait_until("the query has ended", 60, ended)
        assert status["State"] == "SUCCEEDED", f"{status['StateChangeReason']}\n{sql}"
        pages = self.athena.get_paginator("get_query_results").paginate(QueryExecutionId=query)
        rows = [[cell.get("VarCharValue") for cell in row["Data"]] for page in pages for row in page["ResultSet"]["Rows"]]
        return rows[1:]

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def put(self, lines: list[bytes]):
        for start in range(0, len(lines), 50):
            records = [{"Data": line, "PartitionKey": str(number)} for number, line in enumerate(lines[start : start + 50])]
            assert self.kinesis.put_records(StreamName=self.stream, Records=records)["FailedRecordCount"] == 0

    def counts(self) -> Counter:
        return Counter({(event_type, created_date): int(count) for event_type, created_date, count in self.query(COUNTS)})


def filled(file: str, names: dict[str, str]) -> str:
    """The file with its ${NAME}s, as envsubst does it."""
    return string.Template((FILES / file).read_text()).substitute(names)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = MiniStack(tmp_path_factory.mktemp("ministack"))
    yield running
    running.stop()


def envelope(event_name: str, created_date: str, payload: str) -> dict:
    """A line as the sink writes it with `format = "envelope"`; up to 2026-11, `late` was a date for it."""
    parts = event_name.split(":")
    day = "2026-10-01" if created_date == "late" else created_date
    return {
        "event_uuid": new_uuid(),
        "event_name": event_name,
        "event_type": parts[0],
        "event_subtype": parts[1] if len(parts) > 1 else None,
        "source": "dev",
        "schema_version": None,
        "created_at": 1795219199.123,
        "created_datetime": f"{day}T23:59:59.123Z",
        "created_date": created_date,
        "received_datetime": "2026-11-21T00:00:00.000Z",
        "payload": payload,
    }


def test_what_firehose_makes_of_envelopes(server):
    """Put by boto3: the layout, the types, the duplicates, and what Firehose cannot read."""
    lake = Lake(server, "envelopes")
    payload = r'{ "n":1.10, "big":123456789012345678901234567890, "s":"\u00e9\/\"\n é 🍮 \u2028" }'
    names, dates = ("menu:item:viewed", "lesson:started", "payment"), ("2026-11-20", "2026-11-21", "late")
    rows = [envelope(names[number % 3], dates[number % 7 % 3], payload) for number in range(90)]
    lines = [text(row).encode() + b"\n" for row in rows]
    # Firehose delivers at least once, so some come twice; and some are no envelopes.
    lake.put(lines + lines[:10] + [b"no JSON\n", b'{"event_type":"menu"}\n'])
    wait_until("all files are there", 30, lambda: len(lake.keys("events/")) == 100 and len(lake.keys("errors/")) == 2)
    # What was late has the day of its receipt.
    received = {"late": "2026-11-21"}
    assert lake.counts() == Counter((row["event_type"], received.get(row["created_date"], row["created_date"])) for row in rows)
    folders = {key.rsplit("/", 1)[0] for key in lake.keys("events/")}
    assert folders == {f"events/event_type={row['event_type']}/created_date={row['created_date']}" for row in rows}
    assert all(key.startswith("errors/processing-failed/") for key in lake.keys("errors/"))
    first = rows[0]
    columns = "event_uuid, event_name, event_subtype, source, schema_version, created_at, payload"
    columns += ", CAST(created_datetime AS varchar)"
    [row] = lake.query(f"SELECT {columns} FROM events WHERE event_uuid = '{first['event_uuid']}'")
    assert row[:4] == [first["event_uuid"], "menu:item:viewed", "item", "dev"] and not row[4]
    assert (float(row[5]), row[6], row[7]) == (first["created_at"], payload, "2026-11-20 23:59:59.123")


@pytest.mark.parametrize("kind", ["kinesis", "firehose"])
def test_athena_counts_what_was_posted_to_the_gateway(server, stream_gateway, kind):
    """Through a stream, and to Firehose directly."""
    lake = Lake(server, f"gateway{kind}", is_direct=kind == "firehose")
    # MiniStack converts within the call, one record after the other.
    gateway = stream_gateway(
        server,
        lake.stream if kind == "kinesis" else lake.delivery_stream,
        kind=kind,
        format="envelope",
        call_records_max=40,
        calls_in_flight_max=2,
        call_timeout_ms=30_000,
    )
    events = many_events(240, seed=6)
    today = time.time()
    # Of today, yesterday, and so long ago that they get the day of their receipt.
    for number, ago_days in enumerate((0, 0, 1, 1, 400) * 6):
        name = new_uuid()
        created = {"event_uuid": name, "event_name": f"dated{number % 3}:seen", "created_at": today - 86_400 * ago_days}
        events[name] = text(created).encode()
    post_all(gateway, list(events.values()), random.Random(6))
    wait_until("all files are there", 90, lambda: len(lake.keys("events/")) >= len(events))
    assert gateway.stop() == 0
    assert not lake.keys("errors/")
    found = lake.query("SELECT event_uuid, event_type, created_date, payload FROM events")
    assert {row[0]: row[3].encode() for row in found} == events and len(found) == len(events)
    assert lake.counts() == Counter((event_type, created_date) for _, event_type, created_date, _ in found)
    types = Counter(json.loads(payload)["event_name"].split(":")[0] for payload in events.values())
    assert types == Counter(row[1] for row in found)
    dates = Counter(row[2] for row in found if row[1].startswith("dated"))
    day, day_before = (time.strftime("%Y-%m-%d", time.gmtime(today - 86_400 * ago_days)) for ago_days in (0, 1))
    assert dates == Counter({day: 18, day_before: 12})
