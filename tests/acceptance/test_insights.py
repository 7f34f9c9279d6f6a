"""`queries/`: what a restaurant asks, answered right from a lake that the gateway wrote, from its typed tables as from its JSON, also day by day; Athena's grammar."""

import datetime
import shutil
import sys
import uuid
from pathlib import Path

import pytest
import required
from gateway import ROOT, binary, wait_until

duckdb = required.module("duckdb")
QUERIES = ROOT / "queries"
sys.path.insert(0, str(QUERIES))

import insights  # noqa: E402
from insights_page import daily, lake as lakes, report  # noqa: E402
from insights_page.periods import Period  # noqa: E402

NAMES = sorted(str(path.relative_to(QUERIES).with_suffix("")) for path in QUERIES.rglob("*.sql") if not path.stem.startswith("views"))
SECTIONS = ["appetizers", "mains", "desserts"]
# What each visit looked at, by section; a dish with `!` was ordered. And the time per dish, as its last report says.
VISITS = [
    (["soup", "olives"], [], []),
    (["soup!"], ["fish!", "steak"], []),
    (["soup"], ["fish"], ["tart!"]),
    ([], ["fish"], ["tart!"]),
]
DWELL_MS = {"soup": 2000, "olives": 500, "fish": 4000, "steak": 6000, "tart": 1500}
HOURS = [12, 12, 20, 23]


def midnight() -> float:
    return datetime.datetime.combine(datetime.datetime.now(datetime.UTC).date(), datetime.time(), datetime.UTC).timestamp() - 86_400


def events() -> list[dict]:
    made = []
    for number, (visit, hour) in enumerate(zip(VISITS, HOURS)):
        shared = {"session_id": str(uuid.uuid4()), "visit_id": str(uuid.uuid4()), "restaurant_id": "tasca", "menu_id": "dinner", "utc_offset_minutes": 60}

        def add(name, **fields):
            created_at = midnight() + hour * 3600 + len(made)
            made.append({"event_uuid": str(uuid.uuid4()), "event_name": name, "created_at": created_at} | shared | fields)

        add("menu:page:opened", page_path="/", viewport={"width_px": 390, "height_px": 780})
        last = max(index for index, dishes in enumerate(visit) if dishes)
        for index, dishes in enumerate(visit):
            # Who jumps to the mains has reached no appetizers.
            if index > last or (index == 0 and not dishes):
                continue
            section = {"section_id": SECTIONS[index], "section_index": index, "section_name": SECTIONS[index].title()}
            add("menu:section:reached", **section)
            for place, dish in enumerate(dishes):
                item = section | {"item_id": dish.rstrip("!"), "item_index": place, "item_name": dish.rstrip("!").title()}
                add("menu:item:viewed", **item)
                if dish.endswith("!"):
                    add("menu:item:ordered", **item, action="order", quantity=2)
                    add("menu:item:ordered", **item, action="share")
        seen = [dish.rstrip("!") for dishes in visit for dish in dishes]
        progress = {"active_ms": 9000, "depth_percent": 50}
        # The first report is replaced by the second; who added them up would count twice.
        for part in (1, 2):
            items = [{"item_id": dish, "dwell_ms": DWELL_MS[dish] * part // 2} for dish in seen]
            add("menu:visit:progress", progress_index=part - 1, items=items, **progress)
    # Another restaurant changes nothing.
    made.append(made[0] | {"event_uuid": str(uuid.uuid4()), "visit_id": str(uuid.uuid4()), "restaurant_id": "other"})
    return made


@pytest.fixture(scope="module")
def lake(gateway) -> Path:
    sent = events()
    from events import text

    assert gateway.post(text(sent)).counts == (len(sent), 0, 0, 0)
    wait_until("all of it is in the lake", 20, lambda: len(gateway.lake("event_uuid")) == len(sent))
    return gateway.data / "lake"


def connected(lake: Path, kind: str):
    connection = duckdb.connect()
    make = lakes.typed if kind == "typed" else lakes.from_json
    make(connection, binary(), lake, ROOT / "schemas")
    return connection


# Each question is asked twice, of the typed tables and of the JSON, and has one answer.
@pytest.fixture(scope="module", params=["typed", "json"])
def sql(lake, request):
    return connected(lake, request.param)


def rows(sql, name: str, *columns: str) -> list[tuple]:
    return [tuple(row[column] for column in columns) for row in insights.query(sql, name, "tasca", "dinner")]


def test_the_most_viewed_dishes(sql):
    assert rows(sql, "most_viewed_dishes", "item_id", "item_name", "visits", "views") == [
        ("fish", "Fish", 3, 3), ("soup", "Soup", 3, 3), ("tart", "Tart", 2, 2), ("olives", "Olives", 1, 1), ("steak", "Steak", 1, 1),
    ]


def test_the_time_per_dish_is_that_of_the_last_report(sql):
    assert rows(sql, "time_per_dish", "item_id", "visits", "seconds", "seconds_per_visit", "median_seconds") == [
        ("steak", 1, 6.0, 6.0, 6.0), ("fish", 3, 12.0, 4.0, 4.0), ("soup", 3, 6.0, 2.0, 2.0), ("tart", 2, 3.0, 1.5, 1.5), ("olives", 1, 0.5, 0.5, 0.5),
    ]


def test_how_far_down_people_get_and_where_they_stop(sql):
    assert rows(sql, "how_far_down", "section_id", "visits", "of_visits", "percent_of_visits") == [
        ("appetizers", 3, 4, 75.0), ("mains", 3, 4, 75.0), ("desserts", 2, 4, 50.0),
    ]
    assert rows(sql, "where_visits_stop", "section_id", "visits", "of_visits", "percent_of_visits") == [
        ("appetizers", 1, 4, 25.0), ("mains", 1, 4, 25.0), ("desserts", 2, 4, 50.0),
    ]


def test_the_share_that_stops_after_the_appetizers(sql):
    assert rows(sql, "stops_after_appetizers", "visits", "visits_that_stop", "percent") == [(3, 1, 33.3)]


def test_from_view_to_order(sql):
    assert rows(sql, "view_to_order", "item_id", "visits_viewed", "visits_ordered", "quantity", "percent_ordered") == [
        ("tart", 2, 2, 4, 100.0), ("fish", 3, 1, 2, 33.3), ("soup", 3, 1, 2, 33.3), ("olives", 1, 0, 0, 0.0), ("steak", 1, 0, 0, 0.0),
    ]


def test_by_day_and_hour_on_the_visitors_clock(sql):
    yesterday = datetime.datetime.fromtimestamp(midnight(), datetime.UTC).date()
    found = rows(sql, "by_day_and_hour", "local_day", "local_hour", "visits", "views", "orders")
    assert found == [
        (yesterday, 13, 2, 5, 2), (yesterday, 21, 1, 3, 1),
        # 23:00 UTC is past midnight there.
        (yesterday + datetime.timedelta(days=1), 0, 1, 2, 1),
    ]


def evening(sql) -> report.Numbers:
    """The same from the daily tables, as the page reads them."""
    yesterday = datetime.datetime.fromtimestamp(midnight(), datetime.UTC).date()
    days = Period(yesterday, yesterday + datetime.timedelta(days=1))
    daily.make(sql, [days])
    [menu] = report.menus(sql, [report.Shown("tasca", "dinner", days.first, days.last)], [days], "en")
    return menu.numbers[0]


def test_the_daily_tables_give_the_same_answers(sql):
    numbers = evening(sql)
    assert (numbers.visits, numbers.visits_ordered, numbers.orders, numbers.quantity) == (4, 3, 4, 8)
    assert numbers.by_hour == {13: (2, 2), 21: (1, 1), 0: (1, 1)}
    assert numbers.sections == {"appetizers": (0, 3, 1), "mains": (1, 3, 1), "desserts": (2, 2, 2)}
    # Visits that viewed it, views, visits that ordered it, portions.
    assert numbers.dishes == {"soup": (3, 3, 1, 2), "fish": (3, 3, 1, 2), "tart": (2, 2, 2, 4), "olives": (1, 1, 0, 0), "steak": (1, 1, 0, 0)}
    assert numbers.times == {"soup": (3, 2.0), "fish": (3, 4.0), "tart": (2, 1.5), "olives": (1, 0.5), "steak": (1, 6.0)}


def test_the_daily_queries_begin_with_the_same_visits():
    """The page makes these once for all of them."""
    begins = {daily.sql(name).partition("WITH ")[2].partition(daily.SHARED_END)[0] for name in daily.NAMES}
    assert len(begins) == 1 and "row_number()" in begins.pop()


def test_the_daily_tables_have_the_columns_that_the_readme_lists(sql):
    readme = (QUERIES / "README.md").read_text()
    for name in daily.NAMES:
        columns = [column for column, *_ in sql.execute(f"DESCRIBE {daily.sql(name)}").fetchall()]
        assert columns == daily.columns(name)
        assert f"| `daily/{name}.sql` | {', '.join(f'`{column}`' for column in columns)} |" in readme


@pytest.mark.parametrize("name", NAMES)
def test_the_same_text_is_athenas_sql(name):
    sqlglot = required.module("sqlglot")
    parsed = sqlglot.parse_one((QUERIES / f"{name}.sql").read_text(), dialect="trino")
    assert parsed.find(sqlglot.exp.Command) is None
    # What sqlglot does not know as a function of both engines it keeps as an anonymous one.
    assert not [function.name for function in parsed.find_all(sqlglot.exp.Anonymous)]


@pytest.mark.parametrize(("kind", "file"), [("typed", "views.athena.sql"), ("json", "views.json.athena.sql")])
def test_athenas_views_parse_and_have_the_columns_of_duckdbs(lake, kind, file):
    sqlglot = required.module("sqlglot")
    statements = sqlglot.parse((QUERIES / file).read_text(), dialect="trino")
    assert [statement.key for statement in statements] == ["create", "create", "create"]
    sql = connected(lake, kind)
    for statement in statements:
        assert not [function.name for function in statement.find_all(sqlglot.exp.Anonymous)]
        columns = [name for name, *_ in sql.execute(f"DESCRIBE {statement.this.name}").fetchall()]
        assert statement.expression.named_selects == columns
        # An array of rows becomes a column for each member, of which a new schema may have more: each is taken by its name.
        for unnested in statement.find_all(sqlglot.exp.Unnest):
            assert kind == "json" or [made.key for made in unnested.expressions] == ["transform", "transform"]


def test_the_typed_tables_have_the_types_that_the_questions_count_on(lake):
    sql = connected(lake, "typed")
    kinds = {name: kind for name, kind, *_ in sql.execute("DESCRIBE menu_visit_progress").fetchall()}
    assert kinds["items"].startswith("STRUCT(") and kinds["items"].endswith("[]") and "dwell_ms BIGINT" in kinds["items"]
    # Without a time zone: the day of a time does not depend on the clock of who asks.
    assert (kinds["created_datetime"], kinds["created_date"], kinds["progress_index"]) == ("TIMESTAMP", "DATE", "BIGINT")
    assert "payload" not in kinds and "is_late" not in kinds


def test_the_tables_are_built_before_they_are_asked(lake, tmp_path):
    there = tmp_path / "lake"
    shutil.copytree(lake, there)
    sql = connected(there, "typed")
    assert sorted(path.name for path in Path(f"{there}-typed").glob("menu_*")) == sorted(event.replace(":", "_") for event in lakes.EVENTS)
    assert sql.execute("SELECT count(*) FROM menu_page_opened").fetchone() == (len(VISITS) + 1,)


def _is_in_the_way(lake: Path) -> None:
    Path(f"{lake}-typed").touch()


@pytest.mark.parametrize(("in_the_way", "said"), [
    (_is_in_the_way, "-typed"), (lambda lake: shutil.rmtree(lake / "_delta_log"), "is no table"),
])
def test_where_no_table_can_be_built_the_json_is_asked_and_one_line_says_so(lake, tmp_path, capfd, in_the_way, said):
    there = tmp_path / "lake"
    shutil.copytree(lake, there)
    in_the_way(there)
    sql = lakes.connect(binary(), there, ROOT / "schemas")
    assert evening(sql).visits == 4
    assert "is_late" in [name for name, *_ in sql.execute("DESCRIBE menu_page_opened").fetchall()]
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("from the JSON of the events, and not from typed tables: ") and said in line


def test_who_wants_no_tables_gets_none(lake, tmp_path, capfd):
    there = tmp_path / "lake"
    shutil.copytree(lake, there)
    sql = lakes.connect(binary(), there, ROOT / "schemas", may_build=not insights.arguments(["--json"]).json)
    assert evening(sql).visits == 4
    assert not Path(f"{there}-typed").exists() and capfd.readouterr().err == ""
