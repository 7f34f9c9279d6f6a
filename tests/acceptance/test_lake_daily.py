"""`lakegate lake build --queries`: daily tables of queries over the typed tables, made by DuckDB and kept as Delta tables."""

from __future__ import annotations

import datetime
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from gateway import ROOT
from lake_gateway import Gateway, binary, schema, write_schemas
from lake_readers import connect
from test_insights import events
from test_lake_typed import send

sys.path.insert(0, str(ROOT / "queries"))
from insights_page import daily  # noqa: E402
from insights_page import lake as lakes  # noqa: E402

DUCKDB = Path(sys.executable).with_name("duckdb")
DAY = datetime.timedelta(days=1)


def command(folder: Path, schemas: Path, *words: str) -> list[str]:
    made = [binary(), "lake", "build", "--format", "json", "--config", folder / "lakegate.toml", "--data-dir", folder / "data"]
    return [*map(str, made), "--schemas", str(schemas), "--queries", *words]


def build(folder: Path, schemas: Path = ROOT / "schemas", *words: str, code: int = 0) -> dict:
    ran = subprocess.run(command(folder, schemas, *words, "--duckdb", str(DUCKDB)), capture_output=True, text=True, timeout=120)
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout)["daily"]


def days_made(report: dict) -> dict[str, int]:
    return {table["table"]: table["days_made"] for table in report["tables"]}


def tables(folder: Path) -> dict[str, list[tuple]]:
    """The rows of the daily tables, as DuckDB reads them, in the columns of their queries."""
    with connect() as connection:
        columns = {name: ", ".join(daily.columns(name)) for name in daily.NAMES}
        read = {name: f"SELECT {columns[name]} FROM delta_scan('{folder}/lake-daily/{name}') ORDER BY ALL" for name in daily.NAMES}
        return {name: connection.execute(text).fetchall() for name, text in read.items()}


def assert_right(folder: Path) -> dict[str, list[tuple]]:
    """The tables have what the queries find when they are asked at once."""
    found = tables(folder)
    with connect() as connection:
        lakes.typed(connection, binary(), folder / "lake", ROOT / "schemas")
        assert found == {name: connection.execute(f"SELECT * FROM ({daily.sql(name)}) ORDER BY ALL").fetchall() for name in daily.NAMES}
    return found


def visits(found: dict[str, list[tuple]]) -> int:
    return sum(row[daily.columns("visits").index("visits")] for row in found["visits"])


@pytest.fixture
def gateway(tmp_path):
    with Gateway(tmp_path, ROOT / "schemas", {"root": str(tmp_path / "lake"), "flush_age_ms": 50}) as started:
        yield started


def test_the_questions_of_a_restaurant_are_tables_that_follow_the_lake(tmp_path, gateway):
    # Nobody opened a menu yet: the tables are there, with their columns.
    send(gateway, [{"event_uuid": str(uuid.uuid4()), "event_name": "client:events:dropped", "created_at": time.time(), "client": "node", "too_old": 1}])
    assert set(days_made(build(tmp_path))) == set(daily.NAMES)
    assert tables(tmp_path) == {name: [] for name in daily.NAMES}

    sent = events()
    send(gateway, sent)
    report = build(tmp_path)
    assert report["failed"] == [] and all(days > 0 for days in days_made(report).values())
    assert all(assert_right(tmp_path).values())

    # Nothing new, nothing to do. Something new in one day: this day and those beside it.
    assert set(days_made(build(tmp_path)).values()) == {0}
    opened = next(event for event in sent if event["event_name"] == "menu:page:opened")
    send(gateway, [opened | {"event_uuid": str(uuid.uuid4()), "visit_id": str(uuid.uuid4()), "created_at": time.time()}])
    assert set(days_made(build(tmp_path)).values()) == {4}, "each reads the openings"
    before = visits(assert_right(tmp_path))

    # What is erased leaves the sums with the next build.
    erase = [binary(), "lake", "erase", "--where", f"visit_id={opened['visit_id']}", "--config", tmp_path / "lakegate.toml"]
    subprocess.run([*map(str, erase), "--data-dir", str(tmp_path / "data")], check=True, capture_output=True, timeout=60)
    build(tmp_path)
    after = assert_right(tmp_path)
    assert visits(after) == before - 1
    assert all(days > 0 for days in days_made(build(tmp_path, ROOT / "schemas", "--rebuild")).values())
    assert tables(tmp_path) == after
    # The page takes them from there, and not files of older versions that still lie there.
    assert len(list((tmp_path / "lake-daily/visits").rglob("*.parquet"))) > len({row[2] for row in after["visits"]})
    with connect() as connection:
        daily.read(connection, tmp_path / "lake-daily")
        assert connection.execute("SELECT sum(visits) FROM daily_visits").fetchone() == (visits(after),)


def test_queries_of_ones_own_have_their_tables_and_a_wrong_one_stops_itself_only(tmp_path):
    schemas = write_schemas(tmp_path / "schemas", {("cart:added", 1): schema({"price": {"type": "integer"}, "size": {"type": "object", "properties": {"w": {"type": "integer"}}}})})
    queries = tmp_path / "queries"
    queries.mkdir()
    write = lambda name, text: (queries / name).write_text(text)  # noqa: E731
    noon = datetime.datetime.now(datetime.UTC).replace(hour=12, minute=0, second=0, microsecond=0).timestamp()
    with Gateway(tmp_path, schemas, {"root": str(tmp_path / "lake"), "flush_age_ms": 50}) as gateway:
        event = {"event_name": "cart:added", "size": {"w": 3}}
        send(gateway, [event | {"event_uuid": str(uuid.uuid4()), "created_at": noon - 86_400 * (number % 3), "price": number} for number in range(9)])
        write("views.duckdb.sql", "CREATE VIEW cart AS SELECT created_date AS day, price, size.w AS width FROM cart_added;")
        write("sales.sql", "SELECT day, sum(price)::BIGINT AS paid, max(width) AS width FROM cart GROUP BY day;")
        write("broken.sql", "SELECT day, nope FROM cart")
        write("no_day.sql", "SELECT sum(price)::BIGINT AS paid FROM cart")
        write("untyped.sql", "SELECT day, count(*)::UTINYINT AS sold FROM cart GROUP BY day")
        write("others.sql", "SELECT day FROM some_table_of_another_lake")
        report = build(tmp_path, schemas, str(queries), code=1)
        assert days_made(report) == {"sales": 6} and report["without_inputs"] == ["others"]
        failed = {one["query"]: one["reason"] for one in report["failed"]}
        assert set(failed) == {"broken", "no_day", "untyped"}
        assert "nope" in failed["broken"] and "column" in failed["no_day"] and "BIGINT" in failed["untyped"], failed
        with connect() as connection:
            read = f"FROM delta_scan('{tmp_path}/lake-daily/sales') ORDER BY day"
            assert connection.execute(f"SELECT paid, width, created_date = day {read}").fetchall() == [(15, 3, True), (12, 3, True), (9, 3, True)]
            # Another text is another table.
            [(queries / name).unlink() for name in ("broken.sql", "no_day.sql", "untyped.sql")]
            assert build(tmp_path, schemas, str(queries), code=1)["failed"] == [], "a name that no table has is a fault too"
            (queries / "others.sql").unlink()
            write("sales.sql", "SELECT day, count(*) AS sold FROM cart GROUP BY day")
            assert days_made(build(tmp_path, schemas, str(queries))) == {"sales": 6}
            assert connection.execute(f"SELECT day, sold {read}").fetchall()[0][1] == 3
            assert [column[0] for column in connection.execute(f"DESCRIBE SELECT * {read}").fetchall()] == ["day", "sold", "event_type", "created_date"]
    missing = subprocess.run(command(tmp_path, schemas, str(queries), "--rebuild", "--duckdb", "/nowhere/duckdb"), capture_output=True, text=True, timeout=60)
    assert missing.returncode == 1 and "install DuckDB" in missing.stderr, missing.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = subprocess.run(command(tmp_path, schemas, str(empty)), capture_output=True, text=True, timeout=60)
    assert wrong.returncode != 0 and "no file NAME.sql" in wrong.stderr, wrong.stderr


def test_builds_that_are_killed_or_meet_another_leave_each_day_once(tmp_path, gateway):
    sent = events()
    send(gateway, sent)
    build(tmp_path)
    roll = random.Random(5)
    opened = next(event for event in sent if event["event_name"] == "menu:page:opened")

    def another_visit():
        send(gateway, [opened | {"event_uuid": str(uuid.uuid4()), "visit_id": str(uuid.uuid4())}])

    another_visit()
    started = time.monotonic()
    build(tmp_path)
    takes = time.monotonic() - started
    killed = 0
    while killed < 3:
        another_visit()
        words = [*command(tmp_path, ROOT / "schemas", "--duckdb", str(DUCKDB))]
        running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            running.wait(roll.uniform(0.1, 0.8) * takes)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            killed += 1
        running.wait()
    rebuild = [*command(tmp_path, ROOT / "schemas", "--rebuild", "--duckdb", str(DUCKDB))]
    both = [subprocess.Popen(rebuild, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    told = [one.communicate(timeout=120)[1].decode() for one in both]
    assert all(one.returncode == 0 or "another" in text for one, text in zip(both, told)), told
    another_visit()
    build(tmp_path)
    assert_right(tmp_path)
    assert list((tmp_path / "data").rglob("daily-*")) == [], "what a killed build left is removed by the next"
