"""`make insights`: what a restaurant asks, answered from the local lake, as one HTML file that needs nothing else."""

import argparse
import datetime
import os
import sys
from pathlib import Path

import duckdb
from insights_page import daily, empty, lake, page, periods, report
from insights_page.watch import watch
from insights_page.words import Words

HERE = Path(__file__).resolve().parent
# More menus make a page that a phone cannot hold.
MENUS_MAX = 20

# Which menus there are, and from when to when they were visited: as queries/daily/ counts days.
MENUS = """
    SELECT restaurant_id, menu_id, min(day) AS first, max(day) AS last
    FROM (
        SELECT restaurant_id, menu_id, CASE
            WHEN CAST(created_date AS date) <> CAST(created_datetime AS date) THEN CAST(created_date AS date)
            ELSE CAST(created_datetime + coalesce(utc_offset_minutes, 0) * INTERVAL 1 MINUTE AS date) END AS day
        FROM menu_page_opened
    )
    WHERE coalesce(restaurant_id = $1, true) AND coalesce(menu_id = $2, true)
    GROUP BY ALL ORDER BY count(*) DESC, 1, 2
"""
MENUS_OF_DAILY = """
    SELECT restaurant_id, menu_id, min(day), max(day) FROM daily_visits
    WHERE coalesce(restaurant_id = $1, true) AND coalesce(menu_id = $2, true)
    GROUP BY ALL ORDER BY sum(visits) DESC, 1, 2
"""


class Nothing(Exception):
    """There is nothing to draw: a case of `empty`."""


def query(connection: duckdb.DuckDBPyConnection, name: str, restaurant: str, menu: str) -> list[dict]:
    """The rows of one of the queries of this folder that are about one menu."""
    found = connection.execute((HERE / f"{name}.sql").read_text())
    columns = [column[0] for column in found.description]
    rows = [dict(zip(columns, row)) for row in found.fetchall()]
    return [row for row in rows if (row["restaurant_id"], row["menu_id"]) == (restaurant, menu)]


def source(options: argparse.Namespace) -> duckdb.DuckDBPyConnection:
    """What is asked: daily tables in files, views that somebody else defined, or the lake. Raises where there is nothing."""
    if options.daily:
        connection = duckdb.connect()
        try:
            daily.read(connection, options.daily)
        except FileNotFoundError as error:
            sys.exit(str(error))
        return connection
    if options.views:
        connection = duckdb.connect()
        # A file is read by several questions: its footer needs no second look.
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute(options.views.read_text())
        return connection
    if not options.lake.is_dir():
        raise Nothing("no_lake")
    if not next(options.lake.glob("event_type=*/*/[!_.]*.parquet"), None):
        raise Nothing("no_events")
    if not next(options.lake.glob("event_type=menu/*/[!_.]*.parquet"), None):
        raise Nothing("no_menu_events")
    return lake.connect(options.binary, options.lake, options.schemas, not options.json)


def drawn(options: argparse.Namespace, now: datetime.datetime) -> tuple[str, str]:
    """The page, and a line about it."""
    connection = source(options)
    known = [report.Shown(*row) for row in connection.execute(MENUS_OF_DAILY if options.daily else MENUS, [options.restaurant, options.menu]).fetchall()]
    if not known:
        raise Nothing("no_visits")
    chosen = periods.choose(
        min(menu.begin for menu in known), max(menu.end for menu in known), options.first, options.last, options.days
    )
    shown = known[:MENUS_MAX]
    if not options.daily:
        daily.only(connection, [(menu.restaurant_id, menu.menu_id) for menu in shown])
        daily.make(connection, chosen)
    language = options.language or report.language_of(connection, shown)
    menus = report.menus(connection, shown, chosen, language)
    html = page.page(menus, chosen, Words(language), len(known), now, options.watch)
    longest = chosen[-1]
    return html, f"{len(menus)} menus, {longest.first} to {longest.last}: {options.out}"


def write(options: argparse.Namespace) -> bool:
    """Writes the page, also where there is nothing to show; whether there was something."""
    now = datetime.datetime.now(datetime.UTC)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        html, line = drawn(options, now)
    except Nothing as nothing:
        about = (str(nothing), options.language or "en", options.lake, bool(options.restaurant or options.menu))
        html, line = empty.as_page(*about, options.watch), empty.as_text(*about)
        return _replace(options.out, html, line, sys.stderr, False)
    return _replace(options.out, html, line, sys.stdout, True)


def _replace(out: Path, html: str, line: str, stream, is_something: bool) -> bool:
    """Whoever reads the file meanwhile sees the old one or the new one."""
    written = out.with_name(f".{out.name}.{os.getpid()}")
    written.write_text(html, encoding="utf-8")
    written.replace(out)
    print(line, file=stream, flush=True)
    return is_something


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make insights", description=__doc__)
    parser.add_argument("--lake", type=Path, default=HERE.parent / "data/lake", help="folder of the lake")
    parser.add_argument("--out", type=Path, default=HERE.parent / "data/insights.html", help="file to write")
    parser.add_argument("--days", type=int, help="so many days up to the last one, in place of a choice of 7, 28 and 90")
    parser.add_argument("--from", type=datetime.date.fromisoformat, dest="first", metavar="DAY", help="first day, such as 2026-11-01")
    parser.add_argument("--to", type=datetime.date.fromisoformat, dest="last", metavar="DAY", help="last day, itself included")
    parser.add_argument("--language", choices=["pt", "en"], help="of the page; else that in which most visits read the menu")
    parser.add_argument("--restaurant", metavar="ID", help="this restaurant only")
    parser.add_argument("--menu", metavar="ID", help="this menu only")
    parser.add_argument("--watch", action="store_true", help="serve the page, and draw it again when the lake has new files")
    parser.add_argument("--port", type=int, default=8081, help="where --watch serves it, on this machine only")
    parser.add_argument("--json", action="store_true", help="read the JSON of the events, and build no typed tables")
    parser.add_argument("--daily", type=Path, metavar="DIR", help="read the daily tables from files in place of the lake (queries/README.md)")
    parser.add_argument("--views", type=Path, metavar="FILE", help="SQL that makes the views, in place of the lake's own (queries/README.md)")
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target/release/lakegate", help="the program that prints the lake's views")
    parser.add_argument("--schemas", type=Path, default=HERE.parent / "schemas", help="folder of the schema registry")
    options = parser.parse_args(given)
    if options.days is not None and options.days < 1:
        parser.error("--days wants a number above 0")
    if options.first and options.last and options.first > options.last:
        parser.error("--from is after --to")
    if options.first and options.last and options.days:
        parser.error("--from, --to and --days together say too much: leave one out")
    return options


def main():
    options = arguments()
    if options.watch:
        try:
            watch(options.lake, options.out, options.port, lambda: write(options))
        except KeyboardInterrupt:
            return
    elif not write(options):
        sys.exit(1)


if __name__ == "__main__":
    main()
