"""Every value of every event is in its typed table: for the shipped schemas, and for forty that are made at random.

Each cell, as DuckDB, delta-rs and polars read it, must be the value of the event by the rule of its column's type; what has no column
or does not convert must be in `_other` or `_unconverted`; and from the row the event must come together again. `LAKEGATE_TYPED_SEED`
makes other schemas and events than usual; a failure names the seed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import typed_kinds as kinds
from lake_gateway import CHECKOUT, Gateway, binary, schema, until, write_schemas
from lake_readers import connect
from typed_events import Made, Shipped, made
from typed_oracle import ENVELOPE, Row, is_same, is_worth, parsed, put_together
from typed_tables import Rows, Table

SEED = int(os.environ.get("LAKEGATE_TYPED_SEED", "21"))
GENERATED = 40
EVENTS = 12
# These get their later versions after the first build: one whose column changes its type, and one with a further column.
HELD = (2, 11)
BODY_BYTES = 2_000_000
NOW = int(time.time())


@dataclass
class Sent:
    """An event, as it was sent, and the version whose schema judged it."""

    name: str
    text: str
    version: int

    def __post_init__(self):
        self.event = parsed(self.text)


def event(random: Random, name: str, version: int, newest: int, body: list[tuple[str, str]]) -> Sent:
    # Some names have events of two days; for all of them the builds would take twice as long.
    earlier = NOW - 86_400 if name.endswith(("1", "2", "d")) else NOW - 5
    created_at = random.choice([NOW - random.randrange(60), earlier, f"{NOW - 60}.{random.randrange(10**6):06}"])
    members = [("event_uuid", f'"{uuid.UUID(int=random.getrandbits(128), version=4)}"'), ("event_name", json.dumps(name))]
    members += [("created_at", str(created_at)), *body]
    if version != newest or random.random() < 0.5:
        members.append(("schema_version", str(version)))
    return Sent(name, kinds.joined(random, members), version)


def post(gateway: Gateway, batch: list[Sent]) -> None:
    """Posts in few requests, and waits until all is in the lake."""
    bodies: list[list[str]] = [[]]
    for sent in batch:
        if sum(map(len, bodies[-1])) > BODY_BYTES:
            bodies.append([])
        bodies[-1].append(sent.text)
    for body in bodies:
        answer = ask(gateway, "/v1/events", f"[{','.join(body)}]".encode())
        assert answer["accepted"] == len(body), [fault["error"] for fault in answer["results"]]


def ask(gateway: Gateway, path: str, body: bytes | None = None) -> dict:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer dev", "Prefer": "durability=delivered"}
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.port}{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class Lake:
    """A gateway with its lake, and the commands that concern it."""

    def __init__(self, folder: Path, schemas: Path):
        self.folder, self.schemas, self.raw = folder, schemas, folder / "lake"
        self.gateway = Gateway(folder, schemas, {"root": str(self.raw), "flush_age_ms": 50})
        self.seen: Counter = Counter()

    def command(self, *words: str) -> dict:
        options = ["--format", "json", "--config", self.folder / "lakegate.toml", "--data-dir", self.folder / "data"]
        command = [binary(), "lake", *words, *options, "--schemas", self.schemas]
        done = subprocess.run(command, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def build(self, *words: str) -> dict[str, dict]:
        """Builds; returns what was done to the table of each event name."""
        report = self.command("build", *words)
        assert not report["failed"] and not report["left_out"] and not report["rows_without_table"], report
        return {table["event_name"]: table for table in report["tables"]}

    def tables(self, built: dict[str, dict]) -> dict[str, Table]:
        """All tables by event name, their columns checked."""
        shown = {table["name"]: table for table in self.command("tables")["typed"]}
        tables = {}
        for name, report in built.items():
            described = shown[report["table"]]
            tables[name] = Table(Path(described["location"]))
            assert (tables[name].event_name, described["rows"]) == (name, report["rows"])
            tables[name].check_schema(described["columns"])
        return tables

    def schema_is_there(self, name: str, version: int) -> bool:
        try:
            return bool(ask(self.gateway, f"/v1/schemas/{name}/{version}"))
        except urllib.error.HTTPError:
            return False

    def check(self, connection, table: Table, sent: list[Sent]) -> Rows:
        """Compares the table, as each engine reads it, with the events; returns its rows."""
        readings = {"DuckDB": table.by_duckdb(connection), "delta-rs": table.by_delta_rs(), "polars": table.by_polars()}
        expected = {one.event["event_uuid"]: one for one in sent}
        faults = []
        for engine, rows in readings.items():
            assert set(rows) == set(expected), (engine, table.event_name, SEED)
            for key, one in expected.items():
                try:
                    self.check_row(table, rows[key], one)
                except AssertionError as error:
                    faults.append(f"{engine}, seed {SEED}: {error}\n  of {one.text[:2_000]}")
        assert not faults, "\n".join([f"{len(faults)} faults in {table.event_name}", *faults[:8]])
        for engine, rows in readings.items():
            assert is_same(readings["DuckDB"], rows), (engine, table.event_name, SEED)
        fullest = max(readings["DuckDB"].values(), key=lambda row: sum(cell is not None for cell in row.values()))
        for engine, found in table.finds(connection, fullest).items():
            assert found == [(fullest["event_uuid"],)], (engine, table.event_name, SEED, fullest)
        return readings["DuckDB"]

    def check_row(self, table: Table, row: dict[str, object], sent: Sent) -> None:
        event = sent.event
        expected = Row(table.columns, event, sent.version, self.seen)
        for column, value in expected.cells.items():
            assert is_same(row[column], value), f"{column}: {row[column]!r} instead of {value!r}"
        unconverted, other = row["_unconverted"], row["_other"]
        assert unconverted is None or all(set(left) == {"value", "reason"} and left["reason"] for left in unconverted.values())
        values = unconverted and {place: left["value"] for place, left in unconverted.items()}
        assert is_same(values, expected.unconverted or None), f"_unconverted: {values!r} instead of {expected.unconverted!r}"
        assert is_same(other, expected.other or None), f"_other: {other!r} instead of {expected.other!r}"
        own = {name: value for name, value in event.items() if name not in ENVELOPE}
        again = put_together(table.columns, row, values or {}, other or {})
        assert is_worth(own, again), f"not the event: {again!r}"
        assert (row["event_name"], row["schema_version"]) == (sent.name, sent.version)
        assert row["created_at"] == float(str(event["created_at"]))


def raw_rows(connection, root: Path) -> dict[str, dict]:
    asked = connection.execute(f"SELECT * FROM delta_scan('{root}')")
    names = [column[0] for column in asked.description]
    return {row["event_uuid"]: row for row in (dict(zip(names, row)) for row in asked.fetchall())}


def shipped(random: Random) -> list[Sent]:
    """Events of every version of the shipped schemas: made, and all that the repository has as good examples."""
    folder = Shipped(CHECKOUT / "schemas")
    versions = folder.versions()
    newest = {name: version for name, version, _ in versions}
    events = []
    for name, version, path in versions:
        document = folder.read(path)
        examples = document["examples"] + json.loads(path.with_suffix(".examples.json").read_text())["good"]
        bodies = [[(key, json.dumps(value)) for key, value in example.items() if key not in ENVELOPE] for example in examples]
        bodies += [folder.members(random, document) for _ in range(EVENTS)]
        events += [event(random, name, version, newest[name], body) for body in bodies]
    return events


def generated(random: Random, one: Made, versions: int) -> list[Sent]:
    """Events of a generated name, while its schemas are there up to this version."""
    chosen = [1 + number % versions for number in range(EVENTS)]
    return [event(random, one.name, version, versions, one.body(random, version)) for version in chosen]


def by_name(events: list[Sent]) -> dict[str, list[Sent]]:
    found: dict[str, list[Sent]] = {}
    for one in events:
        found.setdefault(one.name, []).append(one)
    return found


def test_every_value_of_every_event_is_in_its_typed_table_and_engines_agree_on_it(tmp_path: Path) -> None:
    random = Random(SEED)
    # The last names would have one table.
    names = [f"made:number{number}" for number in range(GENERATED - 4)] + ["made:x:y", "made:x_y", "made:x-y", "made:X:Y"]
    names_made = [made(random, name, number) for number, name in enumerate(names)]
    held = [names_made[number] for number in HELD]
    schemas = tmp_path / "schemas"
    shutil.copytree(CHECKOUT / "schemas", schemas)
    all_schemas = {key: body for one in names_made for key, body in one.schemas().items()}
    later = {key: body for key, body in all_schemas.items() if key[1] > 1 and key[0] in [one.name for one in held]}
    write_schemas(schemas, {key: body for key, body in all_schemas.items() if key not in later})
    lake = Lake(tmp_path, schemas)
    with lake.gateway as gateway, connect() as connection:
        first = [sent for one in names_made for sent in generated(random, one, 1 if one in held else len(one.versions))]
        first += shipped(random)
        post(gateway, first)
        tables = lake.tables(lake.build())
        sent = by_name(first)
        assert len(tables) == GENERATED + 9 and set(tables) == set(sent)
        for one in names_made:
            of_first = {name: [(kind.column, [1])] for name, kind in one.versions[0].items()}
            tables[one.name].check_columns(of_first if one in held else one.columns)
        rows = {name: lake.check(connection, table, sent[name]) for name, table in tables.items()}

        # Two names get further versions, and further events of all versions.
        write_schemas(schemas, later)
        gateway.process.send_signal(signal.SIGHUP)
        for one in held:
            until(lambda: lake.schema_is_there(one.name, len(one.versions)), "the new version", gateway.process)
        second = [sent for one in held for sent in generated(random, one, len(one.versions))]
        post(gateway, second)
        built = lake.build()
        assert {name for name, table in built.items() if table["rows_written"]} == {one.name for one in held}, "it builds what is new"
        tables = lake.tables(built)
        for one in held:
            sent[one.name] += by_name(second)[one.name]
            tables[one.name].check_columns(one.columns)
            rows[one.name] = lake.check(connection, tables[one.name], sent[one.name])

        # Built anew, every table has the same rows, and the envelope of the raw lake.
        built = lake.build("--rebuild")
        assert all(table["rows_written"] == table["rows"] == len(sent[name]) for name, table in built.items())
        raw = raw_rows(connection, lake.raw)
        assert {key: row["payload"] for key, row in raw.items()} == {one.event["event_uuid"]: one.text for one in first + second}
        for name, table in tables.items():
            again = Table(table.root).by_duckdb(connection)
            assert is_same(again, rows[name]), name
            for key, row in again.items():
                assert all(row[column] == value for column, value in raw[key].items() if column != "payload"), (name, key)
    print(f"seed {SEED}: {len(raw)} events in {len(tables)} tables; values compared: {dict(lake.seen)}")
    # Three engines read each event, so a third of these are values of their own.
    types = "boolean integer number text timestamp date json list struct decimal(18,2) decimal(38,1) decimal(38,2) decimal(38,4)"
    assert min(lake.seen[kind] for kind in types.split()) >= 30, (SEED, lake.seen)
    assert min(lake.seen[kind] for kind in ("null", "empty", "_unconverted", "_other")) >= 200, (SEED, lake.seen)


def test_values_at_the_edge_of_a_type_are_exact_or_left_whole(tmp_path: Path) -> None:
    text, integer = {"type": "string"}, {"type": "integer"}
    narrowing = [{"properties": {"a": integer}}, {"properties": {"b": integer}}]
    condition = {"if": {"properties": {"b": {"const": 1}}}, "then": {"properties": {"a": integer}}}
    properties = {
        "number": {"type": "number"},
        "time": text | {"format": "date-time"},
        "date": text | {"format": "date"},
        "wide": {"type": "number", "multipleOf": 0.01, "minimum": -1e254, "maximum": 1e254},
        "some": {"type": "object", "properties": {"a": {}}, "anyOf": narrowing},
        "then": {"type": "object", "properties": {"a": {}, "b": {}}} | condition,
        "named": {"type": "object", "properties": {"client_address": text}},
    }
    columns = {"number": "number", "time": "timestamp", "date": "date", "wide": "decimal(38,2)"}
    columns |= {"some": {"struct": {"a": "json", "b": "integer"}}, "then": {"struct": {"a": "json", "b": "json"}}}
    columns |= {"named": {"struct": {"client_address": "text"}}}
    numbers = [2**53, 2**53 + 1, 10**22, 10**38, 10**38 - 1, 2**127 - 1, 2**127, 2**128, 2**128 + 1]
    numbers += [10**40, 10**40 + 1, 10**300, 10**300 + 1]
    numbers += ["1e38", "1e40", "1.5e300", "1e-400", "1e400", "1e999", "123456789012345678e2", "0.1e17", "-0"]
    times = ["9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z"]
    times += ["0000-06-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "2026-11-28T23:59:59.9999999999999Z", "1969-12-31T23:59:59.000000000001Z"]
    dates = ["0000-12-31", "0001-01-01", "9999-12-31"]
    wides = ["-0.00", "12e-1", "999999999999999999999999999999999999.99", "1000000000000000000000000000000000000", "1e35", "1e36", "-1e253"]
    fields = [("number", str(number)) for number in numbers] + [("wide", number) for number in wides]
    fields += [(name, json.dumps(value)) for name, values in (("time", times), ("date", dates)) for value in values]
    fields += [("some", '{"a": "text"}'), ("then", '{"a": "text", "b": 2}'), ("then", '{"a": 5, "b": 1, "c": null}')]
    fields += [("client_address", '"192.0.2.7"'), ("named", '{"client_address": "a", "source": "b"}')]
    fields += [("source", '"mine"'), ("dedup", "true")]
    sent = [event(Random(number), "edge:met", 1, 1, [field]) for number, field in enumerate(fields)]
    lake = Lake(tmp_path, write_schemas(tmp_path / "schemas", {("edge:met", 1): schema(properties)}))
    with lake.gateway as gateway, connect() as connection:
        post(gateway, sent)
        (table,) = lake.tables(lake.build()).values()
        table.check_columns({name: [(column, [1])] for name, column in columns.items()})
        lake.check(connection, table, sent)
