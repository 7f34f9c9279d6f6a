"""`make insights`: the queries of this folder over the local lake, drawn into one HTML file without scripts."""

import argparse
import datetime
import html
import subprocess
import sys
from pathlib import Path

import duckdb
import install_delta

HERE = Path(__file__).resolve().parent
BARS_MAX = 15

STYLE = """
:root { --deep: #1f5157; --clay: #c4623f; --soft: #7a6f63; --line: #e4d9c6; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 20px 60px; background: #fbf6ec; color: #2b2622; font: 15px/1.5 system-ui, sans-serif; }
h1 { font: 600 34px/1.2 Georgia, serif; margin: 0; } h2 { font: 600 20px/1.3 Georgia, serif; margin: 0; color: var(--deep); }
p { color: var(--soft); margin: 2px 0 14px; } .grid { display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
article { background: #fff; border-radius: 18px; padding: 20px 22px; box-shadow: 0 8px 24px -16px #5b3a1c66; } .wide { grid-column: 1 / -1; }
.numbers { display: flex; flex-wrap: wrap; gap: 14px; margin: 18px 0 20px; } .numbers div { background: #fff; border-radius: 14px; padding: 12px 22px; }
.numbers b { display: block; font-size: 28px; color: var(--clay); } svg { width: 100%; height: auto; display: block; font: 13px system-ui, sans-serif; }
"""


def text(value) -> str:
    return html.escape(str(value))


def bars(rows: list[tuple], unit: str = "", colour: str = "#c4623f") -> str:
    """Horizontal bars of (label, value, note), the longest first as they come."""
    rows = rows[:BARS_MAX]
    most = max((value for _, value, _ in rows), default=0) or 1
    parts = []
    for place, (label, value, note) in enumerate(rows):
        y, width = place * 27, 250 * value / most
        parts.append(
            f'<text x="172" y="{y + 17}" text-anchor="end">{text(label if len(label) < 23 else label[:22] + "…")}</text>'
            f'<rect x="180" y="{y + 4}" width="{width:.1f}" height="18" rx="5" fill="{colour}"><title>{text(note)}</title></rect>'
            f'<text x="{186 + width:.1f}" y="{y + 17}" fill="#7a6f63">{value:g}{unit}</text>'
        )
    return f'<svg viewBox="0 0 500 {max(len(rows), 1) * 27}" role="img">{"".join(parts)}</svg>'


def heat(cells: dict[tuple, int]) -> str:
    """A day by hour map of counts."""
    if not cells:
        return ""
    days = sorted({day for day, _ in cells})[-14:]
    most = max(cells.values())
    parts = [f'<text x="{96 + hour * 38}" y="12" text-anchor="middle" fill="#7a6f63">{hour}</text>' for hour in range(24)]
    for row, day in enumerate(days):
        y = 20 + row * 28
        parts.append(f'<text x="74" y="{y + 18}" text-anchor="end" font-size="12">{day:%d %b}</text>')
        for hour in range(24):
            count = cells.get((day, hour), 0)
            parts.append(
                f'<rect x="{78 + hour * 38}" y="{y}" width="35" height="25" rx="5" fill="#1f5157" fill-opacity="{0.05 + 0.95 * count / most:.2f}">'
                f"<title>{day} {hour}:00 · {count}</title></rect>"
            )
    return f'<svg viewBox="0 0 995 {24 + len(days) * 28}" role="img">{"".join(parts)}</svg>'


def query(connection: duckdb.DuckDBPyConnection, name: str, restaurant: str, menu: str) -> list[dict]:
    """The rows of one of the queries that are about one menu."""
    found = connection.execute((HERE / f"{name}.sql").read_text())
    columns = [column[0] for column in found.description]
    rows = [dict(zip(columns, row)) for row in found.fetchall()]
    return [row for row in rows if (row["restaurant_id"], row["menu_id"]) == (restaurant, menu)]


# Names as most visitors read them: a dish has one in every language.
NAMES = """
    SELECT {part}_id, max_by({part}_name, (locale IS NOT DISTINCT FROM (SELECT mode(locale) FROM menu_page_opened), created_at))
    FROM {view} WHERE restaurant_id = ? AND {part}_name IS NOT NULL GROUP BY 1
"""


def menu_page(connection: duckdb.DuckDBPyConnection, restaurant: str, menu: str) -> str:
    def names(part, view):
        return dict(connection.execute(NAMES.format(part=part, view=view), [restaurant]).fetchall())

    dishes, sections = names("item", "menu_item_viewed"), names("section", "menu_section_reached")

    def ask(name):
        rows = query(connection, name, restaurant, menu)
        for row in rows:
            row["name"] = dishes.get(row.get("item_id")) or sections.get(row.get("section_id")) or row.get("item_id") or row.get("section_id")
        return rows

    viewed, times, down, stops, orders = map(ask, ("most_viewed_dishes", "time_per_dish", "how_far_down", "where_visits_stop", "view_to_order"))
    hours, appetizers = ask("by_day_and_hour"), ask("stops_after_appetizers")
    cells: dict[tuple, int] = {}
    by_hour: dict[int, list[int]] = {}
    for row in hours:
        cells[row["local_day"], row["local_hour"]] = cells.get((row["local_day"], row["local_hour"]), 0) + int(row["visits"])
        sums = by_hour.setdefault(row["local_hour"], [0, 0])
        sums[0] += int(row["visits"])
        sums[1] += int(row["orders"])
    visits, ordered = sum(int(row["visits"]) for row in hours), sum(int(row["orders"]) for row in hours)
    numbers = [(visits, "visits"), (ordered, "orders")]
    numbers += [(f"{row['percent']:g} %", "stop after the appetizers") for row in appetizers]
    charts = [
        ("Most viewed dishes", "Visits in which a dish was seen for a second.",
         bars([(row["name"], row["visits"], f"{row['views']} views") for row in viewed])),
        ("Time per dish", "Seconds in view, for each visit that came past it.",
         bars([(row["name"], float(row["seconds_per_visit"]), f"{row['seconds']} s in all") for row in times], " s", "#1f5157")),
        ("How far down people get", "Share of visits that reached a section.",
         bars([(row["name"], float(row["percent_of_visits"]), f"{row['visits']} visits") for row in down], " %", "#d9973f")),
        ("Where visits stop", "The furthest section of a visit.",
         bars([(row["name"], float(row["percent_of_visits"]), f"{row['visits']} visits") for row in stops], " %", "#8f3b57")),
        ("From view to order", "Of the visits that saw a dish, those that ordered it.",
         bars([(row["name"], float(row["percent_ordered"]), f"{row['visits_ordered']} of {row['visits_viewed']}") for row in orders], " %", "#5f8f3f")),
        ("Orders by hour", "On the visitors' own clocks.",
         bars([(f"{hour}:00", sums[1], f"{sums[0]} visits") for hour, sums in sorted(by_hour.items())], "", "#8a94c8")),
    ]
    figures = "".join(f"<div><b>{text(value)}</b>{text(label)}</div>" for value, label in numbers)
    articles = "".join(f"<article><h2>{title}</h2><p>{line}</p>{chart}</article>" for title, line, chart in charts)
    return (
        f'<h1>{text(restaurant)} · {text(menu)}</h1><div class="numbers">{figures}</div><div class="grid">{articles}'
        f'<article class="wide"><h2>Visits by day and hour</h2><p>On the visitors\' own clocks; the last 14 days.</p>{heat(cells)}</article></div>'
    )


def connect(binary: Path, lake: Path, schemas: Path) -> duckdb.DuckDBPyConnection:
    """The lake with the views of its event types, and those of this folder."""
    command = [binary, "lake", "views", "--dialect", "duckdb", "--lake", lake, "--schemas", schemas]
    views = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    connection = duckdb.connect()
    install_delta.load(connection)
    connection.execute(views)
    connection.execute((HERE / "views.duckdb.sql").read_text())
    return connection


def main():
    parser = argparse.ArgumentParser(prog="make insights", description=__doc__)
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target/release/lakegate")
    parser.add_argument("--lake", type=Path, default=HERE.parent / "data/lake")
    parser.add_argument("--schemas", type=Path, default=HERE.parent / "schemas")
    parser.add_argument("--out", type=Path, default=HERE.parent / "data/insights.html")
    options = parser.parse_args()
    if not list(options.lake.glob("event_type=menu/*/*.parquet")):
        sys.exit(f"there are no menu events in {options.lake}: `make demo` or `make demo GUESTS=500` brings some")
    connection = connect(options.binary, options.lake, options.schemas)
    menus = connection.execute("SELECT restaurant_id, menu_id FROM menu_page_opened GROUP BY ALL ORDER BY count(*) DESC, 1, 2").fetchall()
    body = "".join(menu_page(connection, restaurant, menu) for restaurant, menu in menus)
    now = datetime.datetime.now(datetime.UTC)
    options.out.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Insights</title>'
        f"<style>{STYLE}</style>{body}<p>Drawn from {text(options.lake)} on {now:%Y-%m-%d}, {now:%H:%M} UTC.</p></html>\n"
    )
    print(f"{len(menus)} menus: {options.out}")


if __name__ == "__main__":
    main()
