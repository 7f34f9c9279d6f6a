"""`lakegate lake tables`: declarations of the typed tables. DuckDB runs them; the others are parsed by sqlglot."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from pathlib import Path

import pytest
import required
from lake_gateway import Gateway, binary, schema, write_schemas
from lake_readers import connect
from test_lake_typed import lake, send

sqlglot = required.module("sqlglot")
VERSIONS = {
    ("menu:item:viewed", 1): schema({"price": {"type": "string", "description": "What it's worth."}, "note": {"type": "string"}}),
    ("menu:item:viewed", 2): schema({"price": {"type": "integer"}, "note": {"type": "string"}}),
    ("menu:closed", 1): schema({}),
}


def tables(folder: Path, schemas: Path, kind: str, *more: str) -> str:
    command = [binary(), "lake", "tables", "--format", kind, "--schemas", schemas, "--config", folder / "lakegate.toml", *more]
    return subprocess.run([*map(str, command), "--data-dir", str(folder / "data")], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def typed(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("declared")
    schemas = write_schemas(folder / "schemas", VERSIONS)
    with Gateway(folder, schemas, {"root": str(folder / "lake"), "flush_age_ms": 50}) as gateway:
        for version, price in [(1, "one"), (2, 2)]:
            event = {"event_uuid": str(uuid.uuid4()), "event_name": "menu:item:viewed", "created_at": time.time(), "schema_version": version}
            send(gateway, [event | {"price": price}])
        lake(folder, "build", "--schemas", str(schemas))
    return folder, schemas


def test_duckdb_reads_what_the_declarations_name_and_a_changed_field_as_one(typed):
    folder, schemas = typed
    with connect() as connection:
        connection.execute(tables(folder, schemas, "duckdb"))
        rows = connection.execute("SELECT price, schema_version, event_type FROM menu_item_viewed ORDER BY schema_version").fetchall()
        assert rows == [("one", 1, "menu"), ("2", 2, "menu")]
        assert connection.execute("SELECT count(*) FROM menu_closed").fetchone() == (0,)
        comments = "SELECT comment FROM duckdb_columns() WHERE table_name = 'menu_item_viewed' AND column_name = 'price'"
        assert connection.execute(comments).fetchone() == ("What it's worth.",)


def test_the_json_says_columns_comments_rows_bytes_and_freshness(typed):
    folder, schemas = typed
    found = {table["name"]: table for table in json.loads(tables(folder, schemas, "json"))["typed"]}
    viewed = found["menu_item_viewed"]
    assert viewed["rows"] == 2 and viewed["files"] >= 1 and viewed["bytes"] > 0 and viewed["built_to_version"] >= 1
    assert abs(time.time() - time.mktime(time.strptime(viewed["newest_received"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 3600
    kinds = {column["name"]: column["type"] for column in viewed["columns"]}
    assert (kinds["price"], kinds["price_v2"], kinds["schema_version"], kinds["created_date"]) == ("string", "bigint", "int", "date")
    assert viewed["columns_of_changed_fields"] == [["price", "price_v2"]]
    assert found["menu_closed"]["rows"] == 0
    with connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM delta_scan('file://{viewed['location']}')").fetchall()
    assert [row[0] for row in described] == [column["name"] for column in viewed["columns"]]
    assert "typed" not in json.loads(tables(folder, schemas, "json", "--schemas-only"))


@pytest.mark.parametrize("engine", ["trino", "spark", "snowflake", "bigquery", "athena"])
def test_the_words_of_engines_that_are_not_here_are_parsed(tmp_path, engine):
    schemas = write_schemas(tmp_path / "schemas", VERSIONS)
    (tmp_path / "lakegate.toml").write_text("")
    text = tables(tmp_path, schemas, engine, "--schemas-only", "--lake", "s3://bucket/lake")
    statements = sqlglot.parse(text, read=engine, error_level=sqlglot.ErrorLevel.RAISE)
    views = [statement for statement in statements if isinstance(statement, sqlglot.exp.Create) and statement.kind == "VIEW"]
    assert len(views) == 1 and "price_v2" in views[0].sql(), text
    for name in ("menu_item_viewed", "menu_closed"):
        assert f"lake-typed/{name}" in text
