"""`queries/daily/`: the daily tables, from the views of a lake or from files that were written before."""

import datetime
import re
from pathlib import Path

import duckdb
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
    CREATE OR REPLACE TEMP TABLE bands AS
    SELECT *, dense_rank() OVER (ORDER BY restaurant_id, menu_id, day, locale)::INTEGER AS cell
    FROM (
        SELECT cell AS old_cell, restaurant_id, menu_id, bound AS day, CASE WHEN $2 THEN locale ELSE '' END AS locale
        FROM cells ASOF JOIN (SELECT unnest($1::DATE[]) AS bound) AS bounds ON cells.day >= bounds.bound
    )
"""
IN_BANDS = [
    "CREATE OR REPLACE TEMP TABLE visits AS SELECT visits.* REPLACE (bands.cell AS cell) FROM visits JOIN bands ON bands.old_cell = visits.cell",
    "CREATE OR REPLACE TEMP TABLE cells AS SELECT DISTINCT restaurant_id, menu_id, day, locale, cell FROM bands",
]


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
    [database] = connection.execute("SELECT current_database()").fetchone()
    # A temporary view comes before the one of the same name.
    opened = f"SELECT * FROM {database}.main.menu_page_opened SEMI JOIN asked USING (restaurant_id, menu_id)"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW menu_page_opened AS {opened}")


def _once(connection: duckdb.DuckDBPyConnection, first: datetime.date, last: datetime.date) -> None:
    """Two questions read the orders: once is enough."""
    [database] = connection.execute("SELECT current_database()").fetchone()
    orders = sql("visits", first, last).partition("menu_item_ordered AS orders\n")[2]
    [within] = re.findall(r"WHERE orders\..+", orders)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE menu_item_ordered AS SELECT visit_id, item_id, item_name, action, quantity, created_date "
        f"FROM {database}.main.menu_item_ordered AS orders {within}"
    )


def make(connection: duckdb.DuckDBPyConnection, periods: list[Period]) -> None:
    """Makes the tables `daily_…` that the page of these periods needs, from the views.

    Visits have their days. Of the rest the page never asks for a part of a period: it counts on the first day of a *band*, the days between
    two bounds of the periods. That is a few hundred cells in place of thousands, and takes half of the time.
    """
    first, last = min(period.before.first for period in periods), max(period.last for period in periods)
    bounds = {day for period in periods for both in (period, period.before) for day in (both.first, both.last + DAY)}
    texts = {name: sql(name, first, last).rpartition("\nORDER BY")[0] for name in NAMES}
    # All of them begin with the same visits: these are made once.
    shared = texts["visits"].partition(SHARED_END)[0] + SHARED_END.rstrip().rstrip(",")
    shared = shared[shared.index("WITH ") :]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE visits_in_cells AS {shared} SELECT visits.*, cells.* EXCLUDE (cell) FROM visits JOIN cells USING (cell)")
    connection.execute("CREATE OR REPLACE TEMP TABLE visits AS SELECT visit, visit_id, lake_date, last_lake_date, hour, cell FROM visits_in_cells")
    connection.execute("CREATE OR REPLACE TEMP TABLE cells AS SELECT cell, " + ", ".join(f"any_value({of}) AS {of}" for of in CELL) + " FROM visits_in_cells GROUP BY cell")
    _once(connection, first, last)
    for name, text in texts.items():
        # Dishes have the bands of sections.
        if name in ("sections", "dish_times"):
            connection.execute(BANDS, [sorted(bounds), name != "dish_times"])
            for statement in IN_BANDS:
                connection.execute(statement)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE daily_{name} AS WITH {text.partition(SHARED_END)[2]}")
    connection.execute("DROP TABLE temp.menu_item_ordered")


def read(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Takes the tables `daily_…` from `visits.parquet` or `visits/**/*.parquet` and their likes in a folder."""
    for name in NAMES:
        files = [str(file) for file in (folder / f"{name}.parquet", *sorted((folder / name).rglob("*.parquet"))) if file.exists()]
        if name == "visits" and not files:
            raise FileNotFoundError(f"there are no daily tables in {folder}: neither visits.parquet nor a folder visits/ with Parquet files")
        # Nothing of the kind happened: nobody ordered, or nobody scrolled.
        rows = f"read_parquet({files}, hive_partitioning = true)" if files else f"(SELECT {', '.join(map(_no_value, columns(name)))}) WHERE false"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW daily_{name} AS SELECT {', '.join(columns(name))} FROM {rows}")


def _no_value(column: str) -> str:
    kind = "DATE" if column == "day" else "VARCHAR" if column.endswith(("_id", "_name", "locale")) else "BIGINT"
    return f"NULL::{kind} AS {column}"
