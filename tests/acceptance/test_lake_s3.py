"""The lake on S3: a gateway built with `--features s3` writes into an S3 of this test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import required

from lake_gateway import CHECKOUT, Gateway, binary, free_port, schema, until, write_schemas

BUCKET = "lakegate-test"


class S3:
    """MiniStack on a free port of the loopback interface; it checks no signatures."""

    def __init__(self, folder: Path):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        program = required.program("ministack", "`make venv` installs it", path)
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = (folder / "ministack.log").open("w")
        environment = os.environ | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0"}
        self.process = subprocess.Popen([program], env=environment, cwd=folder, stdout=self.log, stderr=subprocess.STDOUT)
        until(lambda: self.request("PUT", f"/{BUCKET}") is not None, "MiniStack", self.process)

    def request(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def keys(self, prefix: str) -> list[str]:
        listing = ElementTree.fromstring(self.request("GET", f"/{BUCKET}?list-type=2&prefix={prefix}"))
        return sorted(key.text for key in listing.iter() if key.tag.endswith("}Key"))

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    store = S3(tmp_path_factory.mktemp("s3"))
    yield store
    store.stop()


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def lake_section(s3: S3, root: str) -> dict:
    return {
        "root": root,
        "s3_endpoint": s3.endpoint,
        "s3_region": "us-east-1",
        "s3_allow_http": True,
        "flush_age_ms": 200,
    }


def event(name: str, **fields) -> dict:
    return {"event_uuid": str(uuid.uuid4()), "event_name": name, "created_at": time.time(), **fields}


def rows(s3: S3, prefix: str, folder: Path) -> list[tuple]:
    duckdb = required.module("duckdb")
    for key in s3.keys(prefix):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.request("GET", f"/{BUCKET}/{key}"))
    files = f"{folder}/{prefix}/event_type=*/created_date=*/*.parquet"
    return duckdb.sql(f"SELECT event_uuid, event_type FROM read_parquet('{files}', hive_partitioning = true)").fetchall()


def test_every_accepted_event_is_in_the_bucket_once(s3, credentials, tmp_path):
    schemas = write_schemas(tmp_path / "schemas", {("menu:item:viewed", 1): schema({}), ("cart:added", 1): schema({})})
    prefix = "lakes/first"
    events = [event(("menu:item:viewed", "cart:added")[number % 2], number=number) for number in range(500)]
    section = lake_section(s3, f"s3://{BUCKET}/{prefix}")
    with Gateway(tmp_path, schemas, section) as gateway:
        for start in range(0, len(events), 100):
            assert gateway.post(events[start : start + 100])["accepted"] == 100
        until(lambda: s3.keys(prefix), "the first file", gateway.process)
        gateway.stop()
    expected = sorted((one["event_uuid"], one["event_name"].split(":")[0]) for one in events)
    assert sorted(rows(s3, prefix, tmp_path / "copy")) == expected
    is_known = lambda key: key.endswith(".parquet") or "/_delta_log/" in key or "/_lakegate/" in key
    assert all(map(is_known, s3.keys(prefix))), "nothing else is in the lake"


def test_events_wait_while_the_bucket_is_missing_and_arrive_once_it_is_there(s3, credentials, tmp_path):
    schemas = write_schemas(tmp_path / "schemas", {("menu:item:viewed", 1): schema({})})
    bucket = f"later-{uuid.uuid4()}"
    events = [event("menu:item:viewed") for _ in range(50)]
    with Gateway(tmp_path, schemas, lake_section(s3, f"s3://{bucket}")) as gateway:
        assert gateway.post(events)["accepted"] == len(events)
        until(lambda: bucket in (tmp_path / "lakegate.log").read_text() or None, "the failure in the log", gateway.process)
        s3.request("PUT", f"/{bucket}")

        def arrived():
            listing = ElementTree.fromstring(s3.request("GET", f"/{bucket}?list-type=2"))
            keys = [key.text for key in listing.iter() if key.tag.endswith("}Key")]
            return [key for key in keys if not key.startswith(("_delta_log/", "_lakegate/"))]

        assert all("event_type=menu/created_date=" in key for key in until(arrived, "the events", gateway.process))
        gateway.stop()


def test_the_reader_answers_from_s3_as_from_a_folder(s3, credentials):
    """The library's own test of writing, replaying and reading, against this S3."""
    # With the features of `make test`, so that nothing is built again.
    features = ["--workspace", "--features", "lakegate/s3,lakegate/kafka"]
    tests = ["cargo", "--locked", "test", *features, "--test", "it", "lake_s3::", "--", "--ignored"]
    environment = os.environ | {"LAKEGATE_TEST_S3_ENDPOINT": s3.endpoint}
    run = subprocess.run(tests, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True)
    assert "2 passed" in run.stdout, run.stdout


def test_daily_tables_of_a_lake_in_s3_are_made_from_copies_of_its_files(s3, credentials, tmp_path):
    schemas = write_schemas(tmp_path / "schemas", {("cart:added", 1): schema({"price": {"type": "integer"}})})
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "sales.sql").write_text("SELECT created_date AS day, sum(price)::BIGINT AS paid FROM cart_added GROUP BY 1")
    with Gateway(tmp_path, schemas, lake_section(s3, f"s3://{BUCKET}/daily/lake")) as gateway:
        assert gateway.post([event("cart:added", price=number) for number in range(10)])["accepted"] == 10
        gateway.stop()
    duckdb = Path(sys.executable).with_name("duckdb")
    of = ["--config", tmp_path / "lakegate.toml", "--data-dir", tmp_path / "data", "--schemas", schemas, "--duckdb", duckdb]
    build = [binary(), "lake", "build", "--queries", queries, "--format", "json", *of]
    built = [json.loads(subprocess.run([*map(str, build)], check=True, capture_output=True, text=True).stdout)["daily"] for _ in range(2)]
    assert [(table["rows"], table["days_made"]) for report in built for table in report["tables"]] == [(1, 4), (1, 0)], built
    storage = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    found = required.module("polars").scan_delta(f"s3://{BUCKET}/daily/lake-daily/sales", storage_options=storage)
    assert found.select("paid").collect().rows() == [(45,)]
    scratch = list(tmp_path.rglob("daily-*"))
    assert scratch == [], "copies are removed"
