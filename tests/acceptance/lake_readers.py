"""Readers of the lake that are not ours: DuckDB (its Delta extension, and a plain glob), delta-rs and polars.

Each answers the same three questions of one version of the table. What the log itself says of that version is in `Log`, which
reads it without any of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import required

duckdb = required.module("duckdb")
deltalake = required.module("deltalake")
polars = required.module("polars")

FILES = "event_type=*/created_date=*/[!_.]*.parquet"


@dataclass(frozen=True)
class Reading:
    """What a reader found: rows, distinct identities, and the sum of `created_at`, which is exact for whole seconds."""

    rows: int
    distinct: int
    created: float


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB with its Delta extension, which `make venv` installed. It downloads nothing."""
    return duckdb.connect(config={"autoinstall_known_extensions": "false"})


def by_delta_scan(root: Path, version: int) -> Reading:
    return _ask(f"delta_scan('{root}', version => {version})")


def by_glob(root: Path) -> Reading:
    return _ask(f"read_parquet('{root}/{FILES}', hive_partitioning = true, union_by_name = true)")


def _ask(table: str) -> Reading:
    with connect() as connection:
        found = connection.execute(f"SELECT count(*), count(DISTINCT event_uuid), coalesce(sum(created_at), 0) FROM {table}")
        return Reading(*found.fetchone())


def by_delta_rs(root: Path, version: int) -> Reading:
    """delta-rs says which files the version has; DuckDB adds them up."""
    files = deltalake.DeltaTable(root, version=version).file_uris()
    if not files:
        return Reading(0, 0, 0.0)
    return _ask(f"read_parquet({[str(file) for file in files]}, hive_partitioning = true)")


def by_polars(root: Path, version: int) -> Reading:
    column = polars.col
    asked = (polars.len(), column("event_uuid").n_unique(), column("created_at").sum())
    return Reading(*polars.scan_delta(str(root), version=version).select(*asked).collect().row(0))


# By the names that docs/lake.md has for them.
BY_VERSION = {"DuckDB delta_scan": by_delta_scan, "delta-rs": by_delta_rs, "polars": by_polars}


class Log:
    """The log of a table whose first commits are all there: what each version holds, by the protocol's own words."""

    def __init__(self, root: Path):
        self.folder = root / "_delta_log"

    def newest(self) -> int | None:
        """The newest version; `None` if there is no table yet."""
        return max((int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdigit()), default=None)

    def actions(self, version: int) -> list[dict]:
        return [json.loads(line) for line in (self.folder / f"{version:020}.json").read_text().splitlines() if line]

    def live(self, version: int) -> dict[str, dict]:
        """The files of a version, by path: each with its `add`."""
        found: dict[str, dict] = {}
        for earlier in range(version + 1):
            for action in self.actions(earlier):
                if add := action.get("add"):
                    found[add["path"]] = add
                elif remove := action.get("remove"):
                    found.pop(remove["path"], None)
        return found

    def rows(self, version: int) -> int:
        return sum(json.loads(add["stats"])["numRecords"] for add in self.live(version).values())
