"""Typed tables as engines that are not ours read them, and what they say of their own columns."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lake_readers import deltalake, polars
from typed_kinds import Column
from typed_oracle import ENVELOPE, read

# What is not here has its own name.
DELTA = {"integer": "long", "number": "double", "text": "string", "json": "string", "timestamp": "timestamp_ntz"}
HIVE = {"integer": "bigint", "number": "double", "text": "string", "json": "string"}
OF_ENVELOPE = {"event_uuid": "string", "event_name": "string", "event_subtype": "string", "source": "string", "schema_version": "integer"}
OF_ENVELOPE |= {"created_at": "double", "created_datetime": "timestamp_ntz", "received_datetime": "timestamp_ntz"}
OF_ENVELOPE |= {"client_address": "string", "dedup_scope": "string"}
LEFT = {"_unconverted": "string", "_other": "string"}
PARTITION = {"event_type": "string", "created_date": "date"}
TAKEN = ENVELOPE | set(OF_ENVELOPE) | set(LEFT) | set(PARTITION) | {"is_late"}

Rows = dict[str, dict[str, object]]


class Table:
    """A typed table, with the columns that its log says it has."""

    def __init__(self, root: Path):
        self.root = root
        self.delta = deltalake.DeltaTable(root)
        settings = self.delta.metadata().configuration
        definition = json.loads(settings["lakegate.columns"])
        self.event_name = settings["lakegate.event_name"]
        assert definition["event_name"] == self.event_name
        self.columns = [column | {"kind": plain(column["kind"])} for column in definition["columns"]]

    def check_schema(self, shown: list[dict]) -> None:
        """The log's schema, and what `lake tables` prints, have the columns of the definition."""
        schema = json.loads(self.delta.schema().to_json())
        own = {column["column"]: in_delta(column["kind"]) for column in self.columns}
        assert {field["name"]: bare(field["type"]) for field in schema["fields"]} == OF_ENVELOPE | own | LEFT | PARTITION
        assert [field["name"] for field in schema["fields"]] == [column["name"] for column in shown]
        types = {column["name"]: column["type"] for column in shown}
        for column in self.columns:
            assert types[column["column"]] == in_hive(column["kind"]), column
        check_names(self.columns, TAKEN)

    def check_columns(self, expected: dict[str, list[tuple[Column, list[int]]]]) -> None:
        """Each field has the columns that its schemas call for."""
        found: dict[str, list[tuple[Column, list[int]]]] = {}
        for column in self.columns:
            found.setdefault(column["field"], []).append((by_field(column["kind"]), column["versions"]))
        differing = [(name, found.get(name), expected.get(name)) for name in found | expected if found.get(name) != expected.get(name)]
        assert not differing, f"{self.event_name} (field, its columns, what they must be): {differing}"

    def by_duckdb(self, connection) -> Rows:
        asked = connection.execute(f"SELECT * FROM delta_scan('{self.root}')")
        names = [column[0] for column in asked.description]
        return self.rows([dict(zip(names, row)) for row in asked.fetchall()])

    def by_delta_rs(self) -> Rows:
        """By delta-rs's own engine, DataFusion; polars only takes the batches over."""
        table = deltalake.QueryBuilder().register("typed", self.delta).execute("SELECT * FROM typed").read_all()
        return self.rows(polars.DataFrame(table).rows(named=True))

    def by_polars(self) -> Rows:
        return self.rows(polars.scan_delta(str(self.root)).collect().rows(named=True))

    def finds(self, connection, row: dict[str, object]) -> dict[str, list]:
        """What each engine finds that looks for a row by its identity and all its scalars at once: so no statistics hide it."""
        cells = {column["column"]: (column["kind"], row[column["column"]]) for column in self.columns if column["kind"] != "json"}
        cells = {name: (kind, cell) for name, (kind, cell) in cells.items() if isinstance(kind, str) and cell is not None}
        # DuckDB reads no zero byte in SQL.
        cells = {name: (kind, cell) for name, (kind, cell) in cells.items() if "\0" not in str(cell)}
        cells["event_uuid"] = ("text", row["event_uuid"])
        asked = polars.scan_delta(str(self.root))
        types = asked.collect_schema()
        tests = [polars.col(name) == polars.lit(cell, dtype=types[name]) for name, (_, cell) in cells.items()]
        where = " AND ".join(f'"{name}" = {literal(kind, cell)}' for name, (kind, cell) in cells.items())
        typed = deltalake.QueryBuilder().register("typed", self.delta)
        by_delta_rs = typed.execute(f"SELECT event_uuid FROM typed WHERE {where}").read_all()
        # DuckDB does not know DataFusion's way to write a time that nanoseconds do not reach.
        connection.execute("CREATE OR REPLACE TEMP MACRO arrow_cast(text, kind) AS text::TIMESTAMP")
        return {
            "DuckDB": connection.execute(f"SELECT event_uuid FROM delta_scan('{self.root}') WHERE {where}").fetchall(),
            "delta-rs": polars.DataFrame(by_delta_rs).rows(),
            "polars": asked.filter(*tests).select("event_uuid").collect().rows(),
        }

    def rows(self, rows: list[dict]) -> Rows:
        """By event, with JSON text parsed."""
        kinds = {column["column"]: column["kind"] for column in self.columns} | dict.fromkeys(LEFT, "json")
        names = set(OF_ENVELOPE) | set(LEFT) | set(PARTITION) | set(kinds)
        assert all(set(row) == names for row in rows), (self.root, rows[:1])
        found = {row["event_uuid"]: {name: read(kinds.get(name, ""), cell) for name, cell in row.items()} for row in rows}
        assert len(found) == len(rows), f"{self.root} has an event twice"
        return found


def literal(kind: str, cell: object) -> str:
    """A cell in SQL."""
    if kind == "timestamp":
        return f"arrow_cast('{cell.isoformat(' ')}', 'Timestamp(Microsecond, None)')"
    if kind in ("date", "number") or kind.startswith("decimal"):
        return f"CAST('{cell}' AS {'double' if kind == 'number' else kind})"
    return str(cell) if kind in ("boolean", "integer") else "'" + cell.replace("'", "''") + "'"


def plain(kind: object) -> object:
    """A type of the definition, with decimals as a word."""
    if isinstance(kind, str):
        return kind
    ((word, inner),) = kind.items()
    if word == "decimal":
        return f"decimal({inner['precision']},{inner['scale']})"
    if word == "list":
        return {"list": plain(inner)}
    return {"struct": [member | {"kind": plain(member["kind"])} for member in inner]}


def by_field(kind: object) -> Column:
    if isinstance(kind, str):
        return kind
    if "list" in kind:
        return {"list": by_field(kind["list"])}
    return {"struct": {member["field"]: by_field(member["kind"]) for member in kind["struct"]}}


def in_delta(kind: object) -> object:
    if isinstance(kind, str):
        return DELTA.get(kind, kind)
    if "list" in kind:
        return {"list": in_delta(kind["list"])}
    return {"struct": {member["column"]: in_delta(member["kind"]) for member in kind["struct"]}}


def bare(kind: object) -> object:
    """A type of the log's schema, in the form of `in_delta`."""
    if isinstance(kind, str):
        return kind
    if kind["type"] == "array":
        return {"list": bare(kind["elementType"])}
    return {"struct": {field["name"]: bare(field["type"]) for field in kind["fields"]}}


def in_hive(kind: object) -> str:
    if isinstance(kind, str):
        return HIVE.get(kind, kind)
    if "list" in kind:
        return f"array<{in_hive(kind['list'])}>"
    check_names(kind["struct"], set())
    # Hive has no capital letters in the names of members.
    members = [f"{member['column'].lower()}:{in_hive(member['kind'])}" for member in kind["struct"]]
    return f"struct<{','.join(members)}>"


def check_names(columns: list[dict], taken: set[str]) -> None:
    """Names that every engine takes, unique without case; the field's own, as far as that is possible."""
    wanted = []
    for at, column in enumerate(columns):
        is_later = any(other["field"] == column["field"] for other in columns[:at])
        name = f"{column['field']}_v{column['versions'][0]}" if is_later else column["field"]
        wanted.append(re.sub("[^A-Za-z0-9]", "_", name)[:240] or "_")
    lower = [name.lower() for name in wanted]
    for column, name in zip(columns, wanted):
        assert re.fullmatch(f"{name}(_[0-9]+)?", column["column"]), column
        is_free = lower.count(name.lower()) == 1 and name.lower() not in taken and not re.search("_[0-9]+$", name)
        assert not is_free or column["column"] == name, column
    names = [column["column"].lower() for column in columns]
    assert len(set(names)) == len(names) and not set(names) & taken, names
