"""`make insights-speed`: how long the page takes for ten million events of a year in typed columns (EVENTS=1000000: fewer; DAYS=180: all of days that it reads).

It makes up typed tables, one for each event name, in Parquet by day, as views with the names and columns of the lake's own. Then it runs
`insights.py` over them, in a process of its own, three times.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parent
# As with the visits of `make demo GUESTS=500`: it says about how many visits make so many events.
EVENTS_A_VISIT = 17
RESTAURANTS = 10
SECTIONS = ["appetizers", "soups", "mains", "desserts", "drinks"]
DISHES_A_SECTION = 4
LAST_DAY = "2026-11-27"

# Numbers that look random and are the same each time.
ROLL = "CREATE MACRO roll(a, b, c) AS (hash(a, b, c) % 1000000) / 1000000.0"
# The columns that all events have.
ENVELOPE = """
    uuid()::VARCHAR AS event_uuid, '{name}' AS event_name, epoch_ms(created_datetime) / 1000.0 AS created_at, created_datetime,
    created_datetime + INTERVAL 1 SECOND AS received_datetime, 'web' AS source, 1 AS schema_version, CAST(created_datetime AS date) AS created_date,
    visit_id AS session_id, visit_id, restaurant_id, menu_id, locale, utc_offset_minutes"""
VISITS = f"""
    CREATE TABLE visits AS
    WITH rolled AS (SELECT i, roll(i, 0, 'day') AS day_roll, roll(i, 0, 'depth') AS depth_roll FROM range($visits) AS made(i))
    SELECT i, md5(i::VARCHAR)::UUID::VARCHAR AS visit_id, 'casa-' || (hash(i, 'restaurant') % {RESTAURANTS}) AS restaurant_id,
        CASE WHEN roll(i, 0, 'menu') < 0.7 THEN 'dinner' ELSE 'lunch' END AS menu_id, CASE WHEN roll(i, 0, 'locale') < 0.6 THEN 'pt-PT' ELSE 'en' END AS locale,
        0 AS utc_offset_minutes, 1 + floor({len(SECTIONS)} * sqrt(depth_roll))::INTEGER AS depth,
        -- Some of them cross midnight.
        TIMESTAMP '{LAST_DAY} 00:00:00' - to_days(floor($days * day_roll)::INTEGER) + to_seconds(43200 + floor(43100 * sqrt(roll(i, 0, 'second')))::INTEGER) AS opened
    FROM rolled
"""
SECTIONS_REACHED = f"""
    CREATE TABLE reached AS
    SELECT visits.*, section_index, {SECTIONS}[section_index + 1] AS section_id, opened + to_seconds(5 + 40 * section_index) AS created_datetime
    FROM visits, range({len(SECTIONS)}) AS sections(section_index) WHERE section_index < depth
"""
ITEMS = f"""
    CREATE TABLE seen AS
    SELECT reached.* EXCLUDE (created_datetime), item_index, section_id || '-' || item_index AS item_id,
        (300 + 12000 * pow(roll(i, section_index * 100 + item_index, 'dwell'), 3) * (1 + item_index / 4.0))::BIGINT AS dwell_ms,
        created_datetime + to_seconds(4 * item_index + 1) AS created_datetime
    FROM reached, range({DISHES_A_SECTION}) AS items(item_index)
"""
DISH = "section_id, section_index, upper(section_id) AS section_name, item_id, item_index, upper(item_id) AS item_name"
TABLES = {
    "menu_page_opened": "SELECT {envelope}, '/' AS page_path FROM (SELECT *, opened AS created_datetime FROM visits)",
    "menu_section_reached": "SELECT {envelope}, section_id, section_index, upper(section_id) AS section_name FROM reached",
    "menu_item_viewed": f"SELECT {{envelope}}, {DISH}, 1000 AS dwell_ms, 1 AS view_number FROM seen WHERE dwell_ms > 900",
    "menu_item_ordered": f"SELECT {{envelope}}, {DISH}, 'order' AS action, 1 AS quantity FROM seen WHERE dwell_ms > 900 AND roll(i, section_index * 100 + item_index, 'order') < 0.1",
    "menu_visit_progress": """
        SELECT {envelope}, progress_index, active_ms, 100 AS depth_percent, items FROM (
            SELECT visit_id, restaurant_id, menu_id, locale, utc_offset_minutes, progress_index, 60000 AS active_ms,
                opened + to_seconds(280 + 10 * progress_index::INTEGER) AS created_datetime,
                -- One visit in four reports twice; the totals of the last report count.
                list_transform(items, item -> {{'item_id': item.item_id, 'dwell_ms': item.dwell_ms // (2 - progress_index)}}) AS items
            FROM (SELECT i, any_value(visit_id) AS visit_id, any_value(restaurant_id) AS restaurant_id, any_value(menu_id) AS menu_id, any_value(locale) AS locale,
                    any_value(utc_offset_minutes) AS utc_offset_minutes, any_value(opened) AS opened, list({{'item_id': item_id, 'dwell_ms': dwell_ms}}) AS items FROM seen GROUP BY i),
                range(2) AS reports(progress_index)
            WHERE progress_index = 1 OR i % 4 = 0)""",
}


def make(folder: Path, events: int, days: int) -> int:
    """Writes the tables and `views.sql` into the folder; how many events these are."""
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    connection.execute(ROLL)
    connection.execute(VISITS, {"visits": max(events // EVENTS_A_VISIT, 1), "days": days})
    connection.execute(SECTIONS_REACHED)
    connection.execute(ITEMS)
    made = 0
    views = []
    for name, select in TABLES.items():
        envelope = ENVELOPE.format(name=name.replace("_", ":"))
        # In the order of days, so that few files are open at a time.
        rows = f"SELECT * FROM ({select.format(envelope=envelope)}) ORDER BY created_date"
        connection.execute(f"COPY ({rows}) TO '{folder / name}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (created_date))")
        files = f"read_parquet('{folder / name}/*/*.parquet', hive_partitioning = true, hive_types = {{'created_date': DATE}})"
        views.append(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {files};\n")
        made += connection.execute(f"SELECT count(*) FROM {files}").fetchone()[0]
    (folder / "views.sql").write_text("".join(views) + (HERE / "views.duckdb.sql").read_text())
    return made


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(prog="make insights-speed", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=365, help="over which they are spread; the page reads the last 181")
    parser.add_argument("--work", type=Path, help="a folder that holds the tables afterwards")
    parser.add_argument("--seconds-max", type=float, default=5.0, help="fail if the quickest of three takes longer")
    options = parser.parse_args()
    folder = options.work or Path(tempfile.mkdtemp(prefix="lakegate-insights-"))
    try:
        if not (folder / "views.sql").exists():
            folder.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            print(f"{make(folder, options.events, options.days):,} events made in {time.monotonic() - began:.1f} s", flush=True)
        command = [sys.executable, HERE / "insights.py", "--views", folder / "views.sql", "--out", folder / "insights.html"]
        taken = []
        for _ in range(3):
            began, cpu = time.monotonic(), _cpu_of_children()
            subprocess.run(command, check=True)
            taken.append(time.monotonic() - began)
            print(f"{taken[-1]:.2f} s, {_cpu_of_children() - cpu:.2f} s of CPU", flush=True)
    finally:
        if not options.work:
            shutil.rmtree(folder, ignore_errors=True)
    if min(taken) > options.seconds_max:
        sys.exit(f"slower than {options.seconds_max:g} s")


if __name__ == "__main__":
    main()
