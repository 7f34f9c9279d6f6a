"""`lakegate lake views`: the SQL it prints runs in DuckDB over a lake that the gateway wrote, and parses as Athena's."""

from __future__ import annotations

import datetime
import json
import subprocess
import uuid

import pytest

from lake_gateway import Gateway, binary, schema, write_schemas

duckdb = pytest.importorskip("duckdb")

EVIL = ['x" FROM events; DROP VIEW events; --', "it's / a ~ \\ name", "$.a[*]", "select", "Source"]


def event(name: str, created_at: float, **fields) -> dict:
    return {"event_uuid": str(uuid.uuid4()), "event_name": name, "created_at": created_at, **fields}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake with two event types, two days and a late event; the folder of its schemas; today at midnight, UTC."""
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


def views(dialect: str, root, schemas) -> str:
    command = [binary(), "lake", "views", "--dialect", dialect, "--lake", str(root), "--schemas", str(schemas)]
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


def test_times_have_no_zone_and_partitions_are_text(sql, lake):
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
        "created_date": "VARCHAR",
        "payload": "VARCHAR",
    }
    first, at = sql.execute(
        "SELECT created_datetime, created_at FROM events WHERE event_type = 'menu' ORDER BY created_at DESC LIMIT 1 OFFSET 1"
    ).fetchone()
    assert (first, at) == (datetime.datetime.fromtimestamp(today, datetime.UTC).replace(tzinfo=None, microsecond=125_000), today + 0.125)
    dates = sql.execute("SELECT DISTINCT created_date FROM events WHERE event_type = 'menu' ORDER BY 1").fetchall()
    days = [datetime.date.fromtimestamp(0) + datetime.timedelta(days=today // 86_400 - back) for back in (1, 0)]
    assert [date for (date,) in dates] == [*map(str, days), "late"]


def test_a_typed_view_has_the_fields_of_all_versions_with_their_types(sql):
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
    assert sql.execute("SELECT created_date, price FROM menu_item_viewed WHERE price > 50").fetchall() == [("late", 99.0)]


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
    root, _, today = lake
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
    date = sql.execute("SELECT max(created_date) FROM events WHERE created_date <> 'late'").fetchone()[0]
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


def test_athenas_sql_parses(lake):
    sqlglot = pytest.importorskip("sqlglot")
    _, schemas, _ = lake
    text = views("athena", "s3://bucket/lake", schemas)
    # Athena runs one statement at a time, and sqlglot chooses Hive's or Trino's grammar by the statement.
    statements = [part for part in text.split(";\n\n") if part.strip()]
    kinds = [sqlglot.parse_one(statement, dialect="athena").key for statement in statements]
    assert kinds == ["drop", "create"] * 2 + ["create"] * 4, kinds
    for statement in statements[4:]:
        assert sqlglot.parse_one(statement, dialect="trino").find(sqlglot.exp.Command) is None
    assert "'projection.event_type.values' = 'cart,menu'" in text
