"""The typed tables, read by engines that are not ours, while events come and leave."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

from lake_gateway import Gateway, binary, schema, write_schemas
from lake_readers import connect, deltalake, polars

NOW = int(time.time())
PROPERTIES = {
    "guest": {"type": "string"},
    "number": {"type": "integer"},
    "price": {"type": "number", "multipleOf": 0.01},
    "seen": {"type": "boolean"},
    "place": {"type": "object", "properties": {"table": {"type": "integer"}}},
    "tags": {"type": "array", "items": {"type": "string"}},
}


def event(number: int, **fields: object) -> dict:
    made = {"event_uuid": str(uuid.uuid4()), "event_name": "menu:item:viewed", "created_at": NOW, "number": number}
    return made | {"guest": f"guest {number % 3}", "seen": number % 2 == 0} | fields


def send(gateway: Gateway, batch: list[dict]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/v1/events",
        data=json.dumps(batch).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer dev", "Prefer": "durability=delivered"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["accepted"] == len(batch)


def lake(folder: Path, *words: str) -> dict:
    command = [binary(), "lake", *words, "--format", "json", "--config", folder / "lakegate.toml", "--data-dir", folder / "data"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def numbers(root: Path) -> dict[str, list[int]]:
    """The column `number` of the table, as each engine reads it."""
    with connect() as connection:
        found = connection.execute(f"SELECT number FROM delta_scan('{root}') ORDER BY number").fetchall()
        by_duckdb = [number for (number,) in found]
    table = deltalake.DeltaTable(root)
    files = [str(file) for file in table.file_uris()]
    by_delta_rs = sorted(polars.read_parquet(files, columns=["number"])["number"].to_list()) if files else []
    by_polars = sorted(polars.scan_delta(str(root)).select("number").collect()["number"].to_list())
    return {"duckdb": by_duckdb, "delta-rs": by_delta_rs, "polars": by_polars}


def test_engines_read_typed_tables_through_appends_new_columns_and_an_erasure(tmp_path: Path) -> None:
    schemas = write_schemas(tmp_path / "schemas", {("menu:item:viewed", 1): schema(PROPERTIES), ("menu:closed", 1): schema({})})
    root = tmp_path / "lake-typed" / "menu_item_viewed"
    with Gateway(tmp_path, schemas, {"root": str(tmp_path / "lake"), "flush_age_ms": 50}) as gateway:
        first = [event(number, price=1.25, place={"table": number}, tags=["a", "b"]) for number in range(20)]
        send(gateway, first)
        built = lake(tmp_path, "build", "--schemas", str(schemas))
        assert built["failed"] == [] and {table["table"]: table["rows"] for table in built["tables"]} == {
            "menu_item_viewed": 20,
            "menu_closed": 0,
        }
        send(gateway, [event(number) for number in range(20, 30)])
        lake(tmp_path, "build", "--schemas", str(schemas))
        assert all(found == list(range(30)) for found in numbers(root).values()), numbers(root)
        with connect() as connection:
            select = "SELECT number, seen, price, place.\"table\", tags, event_type, created_date FROM "
            found = connection.execute(f"{select} delta_scan('{root}') WHERE number = 4").fetchall()
            ((number, seen, price, table, tags, event_type, created_date),) = found
            assert (number, seen, float(price), table, tags, event_type) == (4, True, 1.25, 4, ["a", "b"], "menu")
            assert str(created_date) == time.strftime("%Y-%m-%d", time.gmtime(NOW))
            empty = root.with_name("menu_closed")
            assert connection.execute(f"SELECT count(*) FROM delta_scan('{empty}')").fetchone() == (0,)
        # A new optional field is a new column, which old rows have not.
        more = schema(PROPERTIES | {"note": {"type": "string"}})
        write_schemas(tmp_path / "schemas", {("menu:item:viewed", 2): more})
        lake(tmp_path, "build", "--schemas", str(schemas))
        assert polars.scan_delta(str(root)).select(polars.col("note").null_count()).collect().item() == 30
        erased = lake(tmp_path, "erase", "--where", "guest=guest 1")
        assert erased["lakes"][0]["typed_tables"]["erased"] == 10, erased
        left = [number for number in range(30) if number % 3 != 1]
        assert all(found == left for found in numbers(root).values()), numbers(root)
        files = [path for path in root.rglob("*.parquet") if "_delta_log" not in path.parts]
        assert sorted(polars.read_parquet(files, columns=["number"])["number"].to_list()) == left
