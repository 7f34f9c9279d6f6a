"""`queries/daily/`: the daily tables, from the views of a lake or from files that were written before."""

import datetime
import re
from pathlib import Path

import duckdb
import install_delta
from insights_page.periods import DAY, Period

FOLDER = Path(__file__).resolve().parents[1] / "daily"
NAMES = ("visits", "sections", "dishes", "dish_times")
# What a query is about in all, as it is written in its text: days of visits, and folders of the lake.
FIRST, LAST = "0001-01-01", "9999-12-31"
# Where the part ends that is the same in each query: the visits, and the cells of the result.
SHARED_END = "cells.locale = dated.locale\n),\n"
CELL = ("restaurant_id", "menu_id", "day", "locale")
# The cells of a band are one: its first day counts. And those of all languages, where the table has no names.
BANDS = """
    SELECT old_cell, dense_rank() OVER (ORDER BY restaurant_id, menu_id, day, locale)::INTEGER AS cell, restaurant_id, menu_id, day, locale
    FROM (
        SELECT cell AS old_cell, restaurant_id, menu_id, bound AS day, CASE WHEN $2 THEN locale ELSE '' END AS locale
        FROM days_cells ASOF JOIN (SELECT unnest($1::DATE[]) AS bound) AS bounds ON days_cells.day >= bounds.bound
    )
"""
# What `dish_times.sql` counts, where `items` is a list: reports are read once, and most of them left out before their items become rows.
FROM_LISTS = """
    reported AS MATERIALIZED (
        SELECT visits.visit, visits.cell, progress.progress_index, progress.items
        FROM menu_visit_progress AS progress {joined}
    ),
    reports AS (SELECT visit, max(progress_index) AS progress_index FROM reported GROUP BY visit),
    items AS (SELECT reported.cell, unnest(reported.items) AS item FROM reported JOIN reports USING (visit, progress_index)),
    in_view AS (SELECT cell, item.item_id, item.dwell_ms FROM items),
"""


def sql(name: str, first: datetime.date | None = None, last: datetime.date | None = None) -> str:
    """The query for the days from `first` to `last`: its text with other dates, as any program can make it (queries/README.md)."""
    text = (FOLDER / f"{name}.sql").read_text()
    if first:
        # The folder of an event is named by the day in UTC: one off at most. And a visit goes on for a day at most.
        text = text.replace(f"DATE '{FIRST}'", f"DATE '{first}'").replace(f"'{FIRST}'", f"'{first - DAY}'")
    if last:
        text = text.replace(f"DATE '{LAST}'", f"DATE '{last}'").replace(f"'{LAST}'", f"'{last + 2 * DAY}'")
    return text


def columns(name: str) -> list[str]:
    """The columns of a daily table, from the last SELECT of its query."""
    select = (FOLDER / f"{name}.sql").read_text().rpartition("\nSELECT")[2].partition("\nFROM")[0]
    return [re.split(r"[\s.]+", column.strip())[-1] for column in re.split(r",(?![^(]*\))", select)]


def only(connection: duckdb.DuckDBPyConnection, menus: list[tuple[str, str]]) -> None:
    """What is not about these menus is left out early: their visits are those of their openings."""
    connection.execute("CREATE OR REPLACE TEMP TABLE asked (restaurant_id VARCHAR, menu_id VARCHAR)")
    connection.executemany("INSERT INTO asked VALUES (?, ?)", menus)
    opened = f"SELECT * FROM {_of_the_lake(connection, 'menu_page_opened')} SEMI JOIN asked USING (restaurant_id, menu_id)"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW menu_page_opened AS {opened}")


def make(connection: duckdb.DuckDBPyConnection, periods: list[Period]) -> None:
    """Makes the tables `daily_…` that the page of these periods needs, from the views.

    Visits have their days. Of the rest the page never asks for a part of a period: it counts on the first day of a *band*, the days between
    two bounds of the periods. That is a few hundred cells in place of thousands, and takes half of the time.
    """
    first, last = min(period.before.first for period in periods), max(period.last for period in periods)
    bounds = sorted({day for period in periods for both in (period, period.before) for day in (both.first, both.last + DAY)})
    texts = {name: sql(name, first, last).rpartition("\nORDER BY")[0] for name in NAMES}

    def temporary(what: str, name: str, select: str, *parameters) -> None:
        connection.execute(f"CREATE OR REPLACE TEMP {what} {name} AS {select}", parameters)

    # All of them begin with the same visits: these are made once.
    shared = dict(re.findall(r"^(?:WITH )?(\w+) AS \(\n(.*?)\n\)", texts["visits"], re.MULTILINE | re.DOTALL))
    temporary("TABLE", "dated", f"WITH opened AS ({shared['opened']}) {shared['dated']}")
    temporary("TABLE", "cells", shared["cells"])
    temporary("TABLE", "days_cells", "FROM cells")
    temporary("TABLE", "bands", BANDS, bounds, True)
    temporary("TABLE", "bands_of_all", BANDS, bounds, False)
    temporary("TABLE", "days_visits", f"SELECT made.*, bands.cell AS band, bands_of_all.cell AS band_of_all FROM ({shared['visits']}) AS made "
              "JOIN bands ON bands.old_cell = made.cell JOIN bands_of_all ON bands_of_all.old_cell = made.cell")
    # Two questions read the orders.
    [orders] = re.findall(r"WHERE (orders\.action = .+)", texts["visits"])
    temporary("TABLE", "menu_item_ordered", f"SELECT visit_id, item_id, item_name, action, quantity, created_date FROM {_of_the_lake(connection, 'menu_item_ordered')} AS orders WHERE {orders}")
    if _has_lists(connection):
        texts["dish_times"] = _from_lists(texts["dish_times"])
    for name, text in texts.items():
        cell, bands = {"visits": ("cell", None), "dish_times": ("band_of_all", "bands_of_all")}.get(name, ("band", "bands"))
        temporary("VIEW", "visits", f"SELECT visit, visit_id, lake_date, last_lake_date, hour, {cell} AS cell FROM days_visits")
        temporary("TABLE", "cells", f"SELECT DISTINCT restaurant_id, menu_id, day, locale, cell FROM {bands or 'days_cells'}")
        temporary("TABLE", f"daily_{name}", f"WITH {text.partition(SHARED_END)[2]}")
    # The next to ask sees the lake's own again.
    connection.execute("DROP TABLE temp.menu_item_ordered")


def _of_the_lake(connection: duckdb.DuckDBPyConnection, view: str) -> str:
    """The view, and not the temporary one of the same name, which comes before it."""
    [database] = connection.execute("SELECT current_database()").fetchone()
    return f"{database}.main.{view}"


def _has_lists(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether `items` has its type, as in a typed table."""
    _, kind, *_ = connection.execute("DESCRIBE SELECT items FROM menu_visit_progress").fetchone()
    return kind.startswith("STRUCT(") and kind.endswith("[]")


def _from_lists(text: str) -> str:
    """`dish_times.sql`, which unnests the reports itself."""
    [joined] = re.findall(r"FROM menu_visit_progress AS progress\n(.*?)\n  GROUP BY", text, re.DOTALL)
    head, _, rest = text.partition(SHARED_END)
    counted = rest[rest.index("counted AS (") :]
    [tenths] = re.findall(r"CAST\(floor\(.*\) AS tenths", rest)
    counted = counted.replace("FROM in_view", f"FROM (SELECT cell, item_id, {tenths.replace('items.', '')} FROM in_view)", 1)
    return head + SHARED_END + FROM_LISTS.format(joined=joined) + counted


def read(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Takes the tables `daily_…` from the Delta tables `visits` and so on in a folder, or from `visits.parquet` or `visits/**/*.parquet`."""
    for name in NAMES:
        if (folder / name / "_delta_log").is_dir():
            # Its folder has files of older versions too.
            install_delta.load(connection)
            path = str((folder / name).absolute()).replace("'", "''")
            connection.execute(f"CREATE OR REPLACE TEMP VIEW daily_{name} AS SELECT {', '.join(columns(name))} FROM delta_scan('{path}')")
            continue
        files = [str(file) for file in (folder / f"{name}.parquet", *sorted((folder / name).rglob("*.parquet"))) if file.exists()]
        if name == "visits" and not files:
            raise FileNotFoundError(f"there are no daily tables in {folder}: neither visits.parquet nor a folder visits/ with Parquet files")
        # Nothing of the kind happened: nobody ordered, or nobody scrolled.
        rows = f"read_parquet({files}, hive_partitioning = true)" if files else f"(SELECT {', '.join(map(_no_value, columns(name)))}) WHERE false"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW daily_{name} AS SELECT {', '.join(columns(name))} FROM {rows}")


def _no_value(column: str) -> str:
    kind = "DATE" if column == "day" else "VARCHAR" if column.endswith(("_id", "_name", "locale")) else "BIGINT"
    return f"NULL::{kind} AS {column}"
