"""A lake as the views that the questions read: over its typed tables, or over the JSON of its events."""

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import install_delta

QUERIES = Path(__file__).resolve().parents[1]
EVENTS = ("menu:page:opened", "menu:section:reached", "menu:item:viewed", "menu:item:ordered", "menu:visit:progress")
VIEW = re.compile(r'\s*CREATE OR REPLACE VIEW "?(\w+)"? AS\b')


class NoTypedTables(Exception):
    """The lake has none, and they cannot be built: why."""


def connect(binary: Path, lake: Path, schemas: Path, may_build: bool = True) -> duckdb.DuckDBPyConnection:
    """The views of the event types, and those of this folder: over typed tables that have every event that the lake has now, if they can be built."""
    connection = duckdb.connect()
    if not may_build:
        from_json(connection, binary, lake, schemas)
        return connection
    try:
        typed(connection, binary, lake, schemas)
    except NoTypedTables as reason:
        print(f"from the JSON of the events, and not from typed tables: {reason}", file=sys.stderr, flush=True)
        from_json(connection, binary, lake, schemas)
    return connection


def typed(connection: duckdb.DuckDBPyConnection, binary: Path, lake: Path, schemas: Path) -> None:
    """Builds what the typed tables lack, and makes views over them."""
    if not (lake / "_delta_log").is_dir():
        raise NoTypedTables(f"{lake} is no table (docs/lake.md)")
    of = ["--lake", lake, "--schemas", schemas]
    # At once, because a build waits for the disk most of the time. The gateway may build beside them.
    builds = [_start(binary, "build", *of, "--event", event) for event in EVENTS]
    # Takes its time too.
    install_delta.load(connection)
    # Each is waited for: none goes on when this function has ended.
    if failed := [said for done, said in map(_end, builds) if not done]:
        raise NoTypedTables(failed[0])
    done, said = _end(_start(binary, "tables", *of, "--format", "duckdb"))
    if not done:
        raise NoTypedTables(said)
    names = {event.replace(":", "_") for event in EVENTS}
    for statement in duckdb.extract_statements(said):
        # Those of other names may have no table yet.
        if (view := VIEW.match(statement.query)) and view[1] in names:
            connection.execute(statement)
    connection.execute((QUERIES / "views.duckdb.sql").read_text())


def from_json(connection: duckdb.DuckDBPyConnection, binary: Path, lake: Path, schemas: Path) -> None:
    """Views that take the fields out of the JSON of the events."""
    install_delta.load(connection)
    command = [binary, "lake", "views", "--dialect", "duckdb", "--lake", lake, "--schemas", schemas]
    connection.execute(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    connection.execute((QUERIES / "views.json.duckdb.sql").read_text())


def _start(binary: Path, *arguments) -> subprocess.Popen:
    return subprocess.Popen([binary, "lake", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _end(command: subprocess.Popen) -> tuple[bool, str]:
    """Whether it was done, and its output; or the last thing that it said."""
    output, errors = command.communicate()
    if command.returncode == 0:
        return True, output
    return False, next((line for line in reversed(errors.splitlines()) if line.strip()), f"exit code {command.returncode}")
