"""`lakegate lake views`: the SQL it prints runs in DuckDB over a lake that the gateway wrote, and parses as Athena's."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import subprocess
import urllib.request
import uuid

import pytest
import required

from lake_gateway import Gateway, binary, schema, write_schemas

duckdb = required.module("duckdb")

EVIL = ['x" FROM events; DROP VIEW events; --', "it's / a ~ \\ name", "$.a[*]", "select", "Source"]


def event(name: str, created_at: float, **fields) -> dict:
    return {"event_uuid": str(uuid.uuid4()), "event_name": name, "created_at": created_at, **fields}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake with two event types, two days and an event that is late; the folder of its schemas; today at midnight, UTC."""
    folder = tmp_path_factory.mktemp("gateway")
    fields = {
        "price": {"type": "number"},
        "quantity": {"type": "integer"},
        "sold_out": {"type": "boolean"},
        "shown_at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array"},
        "note": {"type": "string"},
    }
    schemas = write_schemas(
        folder / "schemas",
        {
            ("menu:item:viewed", 1): schema({name: fields[name] for name in ("price", "quantity", "sold_out", "note")}),
            ("menu:item:viewed", 2): schema(fields | {name: {"type": "string"} for name in EVIL}),
            ("cart:added", 1): schema({"n": {"type": "integer"}}),
        },
    )
    today = int(datetime.datetime.now(datetime.UTC).timestamp()) // 86_400 * 86_400
    full = {
        "price": 12.5,
        "quantity": 3,
        "sold_out": False,
        "shown_at": "2026-11-20T10:00:00+02:00",
        "day": "2026-11-20",
        "tags": ["spicy", "vegan"],
        "note": 'a "quoted" note, Tiramisù',
    } | {name: f"value of {name}" for name in EVIL}
    events = [
        event("menu:item:viewed", today + 0.125, **full),
        event("menu:item:viewed", today + 1, schema_version=1, price=1),
        event("menu:item:viewed", today - 86_400),
        event("menu:item:viewed", today - 800 * 86_400, price=99),
        *(event("cart:added", today + 2, n=n) for n in range(20)),
    ]
    root = folder / "lake"
    with Gateway(folder, schemas, {"root": str(root)}) as gateway:
        answer = gateway.post(events)
        assert answer["accepted"] == len(events), answer
        gateway.stop()
    return root, schemas, today


def views(dialect: str, root, schemas, *arguments) -> str:
    command = [binary(), "lake", "views", "--dialect", dialect, "--lake", str(root), "--schemas", str(schemas), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def sql(lake):
    """A connection with the views in it. New York's clock must change nothing."""
    root, schemas, _ = lake
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    for _ in range(2):
        connection.execute(views("duckdb", root, schemas))
    return connection


def test_times_have_no_zone_and_partitions_have_their_types(sql, lake):
    _, _, today = lake
    types = {name: kind for name, kind, *_ in sql.execute("DESCRIBE events_raw").fetchall()}
    assert types == {
        "event_uuid": "VARCHAR",
        "event_name": "VARCHAR",
        "event_type": "VARCHAR",
        "event_subtype": "VARCHAR",
        "source": "VARCHAR",
        "schema_version": "INTEGER",
        "created_at": "DOUBLE",
        "created_datetime": "TIMESTAMP",
        "received_datetime": "TIMESTAMP",
        "created_date": "DATE",
        "is_late": "BOOLEAN",
        "payload": "VARCHAR",
        "dedup_scope": "VARCHAR",
    }
    first, at = sql.execute(
        "SELECT created_datetime, created_at FROM events WHERE event_type = 'menu' ORDER BY created_at DESC LIMIT 1 OFFSET 1"
    ).fetchone()
    assert (first, at) == (datetime.datetime.fromtimestamp(today, datetime.UTC).replace(tzinfo=None, microsecond=125_000), today + 0.125)
    dates = sql.execute("SELECT DISTINCT created_date FROM events WHERE event_type = 'menu' ORDER BY 1").fetchall()
    days = [datetime.date.fromtimestamp(0) + datetime.timedelta(days=today // 86_400 - back) for back in (1, 0)]
    assert [date for (date,) in dates] == days


def test_a_typed_view_has_the_fields_of_all_versions_with_their_types(sql, lake):
    types = {name: kind for name, kind, *_ in sql.execute("DESCRIBE menu_item_viewed").fetchall()}
    expected = {
        "price": "DOUBLE",
        "quantity": "BIGINT",
        "sold_out": "BOOLEAN",
        "shown_at": "TIMESTAMP",
        "day": "DATE",
        "tags": "JSON",
        "note": "VARCHAR",
    }
    assert expected.items() <= types.items()
    row = sql.execute(
        "SELECT price, quantity, sold_out, shown_at, day, tags, note FROM menu_item_viewed WHERE quantity IS NOT NULL"
    ).fetchall()
    shown_at = datetime.datetime(2026, 11, 20, 8)  # UTC
    note = 'a "quoted" note, Tiramisù'
    assert row == [(12.5, 3, False, shown_at, datetime.date(2026, 11, 20), '["spicy","vegan"]', note)]
    assert sql.execute("SELECT count(*), sum(n) FROM cart_added").fetchone() == (20, 190)
    today = datetime.datetime.fromtimestamp(lake[2], datetime.UTC).date()
    late = sql.execute("SELECT created_date, is_late, price FROM menu_item_viewed WHERE is_late OR price > 50").fetchall()
    assert late == [(today, True, 99.0)]


def test_no_field_name_is_taken_for_sql(sql):
    columns = [name for name, *_ in sql.execute("DESCRIBE menu_item_viewed").fetchall()]
    for name in EVIL:
        column = {"Source": "Source_2"}.get(name, name)
        assert column in columns
        quoted = '"' + column.replace('"', '""') + '"'
        values = sql.execute(f"SELECT {quoted} FROM menu_item_viewed WHERE {quoted} IS NOT NULL").fetchall()
        assert values == [(f"value of {name}",)]
    assert sql.execute("SELECT count(*) FROM events").fetchone() == (24,)


def test_events_are_each_there_once_and_an_odd_value_fails_no_query(sql, lake):
    root, schemas, today = lake
    # The log does not know the files that this test adds.
    sql.execute(views("duckdb", root, schemas, "--files"))
    folder = next((root / "event_type=menu").glob("created_date=2*"))
    odd = '{"price":"cheap","quantity":1.5,"sold_out":"maybe","shown_at":"yesterday","day":"someday"}'
    copy, other = folder / "copy.parquet", folder / "odd.parquet"
    try:
        # As after a window that had forgotten: the same events once more, received later.
        sql.execute(
            f"COPY (SELECT * REPLACE (received_datetime + INTERVAL 1 HOUR AS received_datetime, 'again' AS source) "
            f"FROM read_parquet('{folder}/*.parquet', hive_partitioning = false)) TO '{copy}' (FORMAT parquet)"
        )
        assert sql.execute("SELECT count(*) FROM events_raw").fetchone()[0] > 24
        assert sql.execute("SELECT count(*) FROM events").fetchone() == (24,)
        assert sql.execute("SELECT count(*) FROM events WHERE source = 'again'").fetchone() == (0,)
        sql.execute(
            f"COPY (SELECT * REPLACE (uuid()::VARCHAR AS event_uuid, '{odd}' AS payload) "
            f"FROM read_parquet('{copy}', hive_partitioning = false) LIMIT 1) TO '{other}' (FORMAT parquet)"
        )
        row = sql.execute(
            "SELECT price, sold_out, shown_at, day FROM menu_item_viewed WHERE payload LIKE '%cheap%'"
        ).fetchall()
        assert row == [(None, None, None, None)]
    finally:
        copy.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


@pytest.mark.parametrize("view", ["events_raw", "events"])
def test_a_query_for_one_type_and_day_reads_only_its_files(sql, view):
    date = sql.execute("SELECT max(created_date) FROM events").fetchone()[0]
    plan = sql.execute(
        f"EXPLAIN ANALYZE SELECT count(payload) FROM {view} WHERE event_type = 'menu' AND created_date = '{date}'"
    ).fetchall()[0][1]
    assert "Total Files Read: 1" in " ".join(plan.split()), plan


def test_addresses_are_a_column_where_they_are_kept_and_files_without_it_are_read_beside_the_others(tmp_path):
    schemas = write_schemas(tmp_path / "schemas", {(name, 1): schema({}) for name in ("menu:seen", "cart:added")})
    root, config, expected = tmp_path / "lake", tmp_path / "lakegate.toml", {}

    def read(query: str, *arguments: str) -> list:
        command = [binary(), "lake", "views", "--dialect", "duckdb", "--lake", str(root), "--schemas", str(schemas), *arguments]
        connection = duckdb.connect()
        connection.execute(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return connection.execute(query).fetchall()

    def send(kept: str, name: str, address: str | None):
        one = event(name, datetime.datetime.now(datetime.UTC).timestamp())
        with Gateway(tmp_path, schemas, {"root": str(root)}, more=f'[privacy]\nclient_address = "{kept}"') as gateway:
            assert gateway.post([one])["accepted"] == 1
            gateway.stop()
        expected[one["event_uuid"]] = address

    addresses = "SELECT event_uuid, client_address FROM {}"
    send("none", "menu:seen", None)
    config.write_text('[privacy]\nclient_address = "full"')
    kept = ("--config", str(config))
    # Kept from now on, and no file has it yet.
    assert dict(read(addresses.format("events"), *kept)) == expected
    send("full", "menu:seen", "127.0.0.1")
    send("none", "menu:seen", None)
    send("truncated", "cart:added", "127.0.0.0")
    config.write_text('[privacy]\nclient_address = "full"')
    for view in ("events_raw", "events"):
        assert dict(read(addresses.format(view), *kept)) == expected
    assert [address for _, address in read(addresses.format("cart_added"), *kept)] == ["127.0.0.0"]
    plan = read("EXPLAIN ANALYZE SELECT count(payload) FROM events WHERE event_type = 'cart'", *kept)[0][1]
    assert "Total Files Read: 1" in " ".join(plan.split()), plan
    # Where they are not kept, the views are as they always were, over all of the files.
    assert read("SELECT count(*), count(payload) FROM events") == [(4, 4)]
    assert "client_address" not in [name for name, *_ in read("DESCRIBE events")]
    export = [binary(), "lake", "export", "--lake", str(root)]
    lines = subprocess.run(export, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {line["event_uuid"]: line.get("client_address") for line in map(json.loads, lines)} == expected


def dated(connection, table: str, condition: str) -> set[str]:
    rows = connection.execute(f"SELECT event_name FROM {table} WHERE {condition}").fetchall()
    return {name for (name,) in rows}


def test_created_date_is_a_date_whatever_an_event_says_and_what_old_gateways_called_late_is_read_so(tmp_path):
    root, now = tmp_path / "lake", datetime.datetime.now(datetime.UTC).timestamp()
    events = {
        "menu:now": now, "menu:epoch": 0, "menu:odd": 12345, "menu:far": 9_783_072_000, "menu:before": now - 86_400,
        "menu:year": now - 400 * 86_400, "menu:week": now + 7 * 86_400, "menu:micros": 10**16 - 1,
    }
    schemas = write_schemas(tmp_path / "schemas", {(name, 1): schema({}) for name in events})
    with Gateway(tmp_path, schemas, {"root": str(root), "table": "none"}) as gateway:
        answer = gateway.post([event(name, created_at) for name, created_at in events.items()])
        assert answer["accepted"] == len(events), answer
        gateway.stop()
    late = set(events) - {"menu:now", "menu:before"}
    today = str(datetime.datetime.fromtimestamp(now, datetime.UTC).date())
    folders = {folder.name.removeprefix("created_date=") for folder in root.glob("event_type=*/created_date=*")}
    assert {datetime.date.fromisoformat(folder) for folder in folders} and len(folders) <= 3, folders

    # As any reader takes it: with hive partitioning, and no word on the types of the folders.
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    files = f"read_parquet('{root}/*/*/*.parquet', hive_partitioning = true)"
    assert dict((name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall())[
        "created_date"
    ] == "DATE"
    for bound in (f"DATE '{today}'", f"'{today}'"):
        assert dated(connection, files, f"created_date >= {bound}") == set(events) - {"menu:before"}
    assert dated(connection, files, "created_date < DATE '2020-01-01'") == set()
    assert dated(connection, files, "created_date <> CAST(created_datetime AS DATE)") == late

    def check_views(text: str):
        connection.execute(text)
        for view in ("events_raw", "events"):
            for bound in (f"DATE '{today}'", f"'{today}'"):
                assert dated(connection, view, f"created_date >= {bound}") == set(events) - {"menu:before"}
            assert dated(connection, view, "is_late") == late
            assert connection.execute(f"SELECT count(DISTINCT event_uuid), count(*) FROM {view}").fetchone() == (8, 8)

    check_views(views("duckdb", root, schemas))
    # An old lake: what is late is in a folder of that name.
    [folder] = root.glob(f"event_type=menu/created_date={today}")
    [file] = folder.glob("*.parquet")
    (root / "event_type=menu/created_date=late").mkdir()
    for target, condition in (("late", ""), (today, "NOT ")):
        names = ", ".join(f"'{name}'" for name in sorted(late))
        connection.execute(
            f"COPY (SELECT * FROM read_parquet('{file}', hive_partitioning = false) WHERE event_name {condition}IN ({names})) "
            f"TO '{root}/event_type=menu/created_date={target}/old.parquet' (FORMAT parquet)"
        )
    file.unlink()
    text = views("duckdb", root, schemas)
    check_views(text)
    plan = connection.execute(
        f"EXPLAIN ANALYZE SELECT count(payload) FROM events WHERE event_type = 'menu' AND created_date = '{today}'"
    ).fetchall()[0][1]
    # That day's file and, since they may be of any day, the late ones.
    assert plan.count("Total Files Read: 1") == 2, plan
    listed = subprocess.run([binary(), "lake", "ls", "--lake", str(root)], check=True, capture_output=True, text=True).stdout
    assert "late" in listed, listed


def test_events_of_two_scopes_are_two_and_of_two_server_keys_one(tmp_path):
    """The view tells duplicates as the gateway does: each browser key is a scope, all server keys are one."""
    schemas = write_schemas(tmp_path / "schemas", {("menu:seen", 1): schema({})})
    root, page = tmp_path / "lake", "https://menu.example"

    def key(name: str, more: str = "") -> str:
        return f'[[keys]]\nname = "{name}"\nsecret_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n{more}\n'

    browser = f'kind = "browser"\nallowed_origins = ["{page}"]'
    keys = key("page", browser) + key("other", browser) + key("service") + key("second")
    one = event("menu:seen", datetime.datetime.now(datetime.UTC).timestamp())

    def send(senders: list[str], more: str = "") -> None:
        with Gateway(tmp_path, schemas, {"root": str(root)}, more=keys + more) as gateway:
            for sender in senders:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{gateway.port}/v1/events",
                    json.dumps([one]).encode(),
                    {"content-type": "application/json", "x-api-key": sender, "origin": page},
                )
                with urllib.request.urlopen(request) as answer:
                    assert json.load(answer)["accepted"] == 1, sender
            gateway.stop()

    def read(query: str) -> list:
        command = [binary(), "lake", "views", "--dialect", "duckdb", "--lake", str(root), "--schemas", str(schemas)]
        connection = duckdb.connect()
        connection.execute(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return connection.execute(query).fetchall()

    # Files without the column are read as ever.
    send(["service"])
    assert read("SELECT source, dedup_scope FROM events") == [("service", None)]
    send(["page", "other"])
    # Two gateways that do not know of each other, or a window that is over: the same events once more.
    shutil.rmtree(tmp_path / "data" / "dedup")
    shutil.rmtree(tmp_path / "data" / "spool")
    send(["second", "page"])
    scopes = "SELECT source, dedup_scope FROM {} ORDER BY received_datetime"
    once = [("service", None), ("page", "page"), ("other", "other")]
    assert read(scopes.format("events_raw")) == [*once, ("second", None), ("page", "page")]
    assert read(scopes.format("events")) == once
    assert read(scopes.format("menu_seen")) == once
    assert read("SELECT count(*) FROM events WHERE dedup_scope IS NULL") == [(1,)]

    def export(*arguments: str) -> list[tuple]:
        command = [binary(), "lake", "export", "--lake", str(root), *arguments]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return sorted(((line["source"], line.get("dedup_scope")) for line in map(json.loads, lines)), key=str)

    assert export("--distinct") == sorted(once, key=str)
    assert len(export()) == 5


def test_athenas_sql_parses(lake):
    sqlglot = required.module("sqlglot")
    _, schemas, _ = lake
    text = views("athena", "s3://bucket/lake", schemas)
    # Athena runs one statement at a time, and sqlglot chooses Hive's or Trino's grammar by the statement.
    statements = [part for part in text.split(";\n\n") if part.strip()]
    kinds = [sqlglot.parse_one(statement, dialect="athena").key for statement in statements]
    assert kinds == ["drop", "create"] * 2 + ["create"] * 4, kinds
    for statement in statements[4:]:
        assert sqlglot.parse_one(statement, dialect="trino").find(sqlglot.exp.Command) is None
    assert "'projection.event_type.values' = 'cart,menu'" in text
