"""`make insights`: what the page says of visits that are known, in which language, and what it says where there is nothing."""

import datetime
import html
import json
import random
import re
import statistics
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import required
from gateway import ENVIRONMENT, ROOT, binary, wait_until

duckdb = required.module("duckdb")
QUERIES = ROOT / "queries"
sys.path.insert(0, str(QUERIES))

from insights_page import daily, periods  # noqa: E402
from insights_page.words import Words, name_of  # noqa: E402

DAY = datetime.timedelta(days=1)
LAST = datetime.date(2026, 11, 20)
SECTIONS = ["appetizers", "mains", "desserts"]
# As the typed tables have them; text where the type does not matter here.
COLUMNS = {
    "created_at": "DOUBLE", "created_datetime": "TIMESTAMP", "created_date": "DATE", "visit_id": "VARCHAR", "restaurant_id": "VARCHAR",
    "menu_id": "VARCHAR", "locale": "VARCHAR", "utc_offset_minutes": "BIGINT", "section_id": "VARCHAR", "section_index": "BIGINT", "section_name": "VARCHAR",
    "item_id": "VARCHAR", "item_name": "VARCHAR", "action": "VARCHAR", "quantity": "BIGINT", "view_number": "BIGINT", "progress_index": "BIGINT",
    "active_ms": "BIGINT", "depth_percent": "BIGINT",
    "items": "STRUCT(item_id VARCHAR, dwell_ms BIGINT)[]",
}
TABLES = ["menu_page_opened", "menu_section_reached", "menu_item_viewed", "menu_item_ordered", "menu_visit_progress"]


class Lake:
    """Typed views of events that a test makes, and the page of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.events: dict[str, list[dict]] = {name: [] for name in TABLES}

    def visit(self, day: datetime.date, hour: int = 20, *, dwell: dict[str, int] | None = None, seen=(), ordered=(), reached: int = 1,
              minutes_between: int = 1, locale="pt-PT", restaurant="quinta.norte", numbered: bool = True, offset: int = 0, lake_day: datetime.date | None = None) -> str:
        """A visit that begins at this hour of the visitor's clock."""
        time = datetime.datetime.combine(day, datetime.time(hour)) - datetime.timedelta(minutes=offset)
        visit_id = str(uuid.uuid4())

        def add(table: str, **fields):
            nonlocal time
            self.events[table].append({
                "created_at": time.timestamp(), "created_datetime": time.isoformat(), "created_date": (lake_day or time.date()).isoformat(),
                "visit_id": visit_id, "restaurant_id": restaurant, "menu_id": "dinner", "locale": locale,
                "utc_offset_minutes": offset,
            } | fields)
            time += datetime.timedelta(minutes=minutes_between)

        add("menu_page_opened")
        for index in range(reached):
            add("menu_section_reached", section_id=SECTIONS[index], section_index=index, section_name=SECTIONS[index].title())
        for item in seen:
            # A client of today numbers the views of a visit; one of yesterday does not.
            for number in ((1, 2) if numbered else (None, None)):
                add("menu_item_viewed", item_id=item, item_name=f"{item.title()} {locale[:2]}", view_number=number)
        for item in ordered:
            add("menu_item_ordered", item_id=item, action="order", quantity=1)
        for part in (1, 2):
            times = [{"item_id": item, "dwell_ms": ms * part // 2} for item, ms in (dwell or {}).items()]
            add("menu_visit_progress", progress_index=part - 1, items=times)
        return visit_id

    def views(self) -> Path:
        listed = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        text = ""
        for table, rows in self.events.items():
            file = self.folder / f"{table}.ndjson"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            text += f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM read_json('{file}', format = 'newline_delimited', columns = {{{listed}}});\n"
        (self.folder / "views.sql").write_text(text + (QUERIES / "views.duckdb.sql").read_text())
        return self.folder / "views.sql"

    def connection(self):
        connection = duckdb.connect()
        connection.execute(self.views().read_text())
        return connection

    def page(self, *more) -> "Page":
        return draw(self.folder, "--views", self.views(), *more)


class Page:
    """What a reader sees of it: its text, by the part of a period."""

    def __init__(self, done, out: Path):
        self.code, self.stderr, self.html = done.returncode, done.stderr, out.read_text() if out.exists() else ""
        plain = re.sub(r"<style>.*?</style>|<script>.*?</script>", " ", self.html, flags=re.DOTALL)
        parts = re.split(r'<div class="period p\d">', plain)
        self.head, self.periods = as_text(parts[0]), [as_text(part) for part in parts[1:]]

    @property
    def language(self) -> str:
        return re.search(r'<html lang="(\w+)"', self.html)[1]


def as_text(part: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", part))).strip()


def draw(folder: Path, *arguments) -> Page:
    out = folder / "insights.html"
    command = [sys.executable, QUERIES / "insights.py", "--binary", binary(), "--out", out, *arguments]
    return Page(subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True), out)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def two_weeks(lake: Lake) -> Lake:
    """Three visits in the last week, one of which ordered; four in the week before, of which two did. The lake begins earlier."""
    lake.visit(LAST - 14 * DAY)
    for day, ordered in ((0, ["soup"]), (1, []), (6, [])):
        lake.visit(LAST - day * DAY, seen=["soup"], ordered=ordered, reached=2)
    for day, ordered in ((7, ["soup"]), (8, ["soup"]), (9, []), (13, [])):
        lake.visit(LAST - day * DAY, seen=["soup"], ordered=ordered)
    return lake


def test_each_share_says_of_how_many_it_is_and_what_it_was_the_week_before(lake):
    page = two_weeks(lake).page("--days", "7", "--language", "en")
    [week] = page.periods
    assert "Sat 14 Nov to Fri 20 Nov 2026" in week
    assert "Compared with Sat 7 Nov to Fri 13 Nov: the same weekdays." in week
    for said in (
        "Visits 3 before: 4", "Orders 1 1 portion before: 2", "Visits that ordered 33% 1 of 3 visits before: 50% (2 of 4)",
        "Stop after “Appetizers” 0% 0 of 3 visits before: 100% (4 of 4)", "Soup pt 100% 3 of 3 visits", "Soup pt 33% 1 of 3 visits",
        "Mains 100% 3 of 3 visits",
    ):
        assert said in week, said
    # No percentage anywhere in the bars stands alone.
    alone = re.findall(r"<b>[^<]*%</b>(?! <span class=\"of\">[^<]*\d+ of \d+)", page.html)
    assert not alone
    assert "insights: " not in page.stderr


def test_where_the_week_before_is_not_covered_the_page_says_so(lake):
    lake.visit(LAST)
    lake.visit(LAST - 8 * DAY)
    [week] = lake.page("--days", "7", "--language", "en").periods
    assert "No comparison: the same weekdays before (Sat 7 Nov to Fri 13 Nov) are not covered by the data, which begins on Thu 12 Nov 2026." in week
    assert "Visits 1 no comparison" in week


@pytest.mark.parametrize(("days", "offered"), [(3, [7]), (8, [7, 28]), (29, [7, 28, 90])])
def test_the_periods_that_are_offered_are_those_that_the_data_has(lake, days, offered):
    lake.visit(LAST)
    lake.visit(LAST - (days - 1) * DAY)
    page = lake.page("--language", "en")
    assert len(page.periods) == len(offered)
    assert re.findall(r"Last (\d+) days", page.head) == ([str(length) for length in offered] if len(offered) > 1 else [])


def test_days_can_be_chosen(lake):
    for day in range(5):
        lake.visit(LAST - day * DAY)
    [chosen] = lake.page("--from", str(LAST - 3 * DAY), "--to", str(LAST - DAY), "--language", "en").periods
    assert "Tue 17 Nov to Thu 19 Nov 2026" in chosen and "Visits 3" in chosen
    assert "Compared with" not in chosen
    for wrong in (["--days", "0"], ["--from", "2026-11-20", "--to", "2026-11-19"], ["--from", "2026-11-20", "--to", "2026-11-21", "--days", "2"]):
        assert lake.page(*wrong).code == 2


def test_a_period_is_compared_with_the_same_weekdays_and_never_with_itself():
    for days in range(1, 100):
        period = periods.Period(LAST - (days - 1) * DAY, LAST)
        before = period.before
        assert before.days == days and before.last < period.first and (period.first - before.first).days % 7 == 0
        assert (period.first - before.last).days <= 7


def test_medians_are_those_of_all_visits_together(lake):
    """Not the mean, and not the median of the medians of days: against Python's own, of what was in view in each visit."""
    dice = random.Random(7)
    dwells: dict[str, list[int]] = {}
    for number in range(200):
        times = {dish: round(dice.expovariate(1 / 4000)) for dish in ("soup", "fish", "tart") if dice.random() < 0.7}
        lake.visit(LAST - number % 7 * DAY, dwell=times)
        for dish, ms in times.items():
            dwells.setdefault(dish, []).append(ms)
    [week] = lake.page("--days", "7", "--language", "en").periods
    for dish, times in dwells.items():
        # To a tenth of a second, as they are counted.
        median = statistics.median((ms + 50) // 100 for ms in times) / 10
        assert f"{dish.title()} {median:.1f} s {len(times)} visits" in week
        assert abs(median - statistics.mean(times) / 1000) > 0.5, "a mean would pass too"


def test_a_visit_across_midnight_is_one_visit_of_its_first_day(lake):
    lake.visit(LAST - DAY, 23, seen=["soup", "fish"], ordered=["soup"], reached=3, dwell={"soup": 3000}, minutes_between=20)
    connection = lake.connection()
    for name, counted in (("visits", "visits"), ("sections", "visits_reached"), ("dishes", "visits_viewed"), ("dish_times", "visits")):
        days = connection.execute(f"SELECT day, sum({counted}) FROM ({daily.sql(name)}) GROUP BY 1").fetchall()
        assert [day for day, _ in days] == [LAST - DAY], name
    [[visits, orders]] = connection.execute(f"SELECT sum(visits), sum(orders) FROM ({daily.sql('visits')})").fetchall()
    assert (visits, orders) == (1, 1)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_dish_that_a_visit_sees_twice_counts_one_visit_and_two_views(lake, numbered):
    for ordered in (["soup"], ["soup", "soup", "fish"]):
        lake.visit(LAST, seen=["soup"], ordered=ordered, numbered=numbered)
    rows = lake.connection().execute(f"SELECT item_id, visits_viewed, views, visits_ordered, orders, quantity FROM ({daily.sql('dishes')})").fetchall()
    # The fish was ordered without being seen.
    assert sorted(rows) == [("fish", 0, 0, 0, 1, 1), ("soup", 2, 4, 2, 3, 3)]


def odd_visits(lake: Lake) -> Lake:
    """Clocks are far from UTC, visits cross midnight, tabs stay open for days and events come late."""
    dice = random.Random(3)
    for _ in range(150):
        lake.visit(
            LAST - dice.randrange(6) * DAY, dice.randrange(24), seen=dice.sample(["soup", "fish", "tart"], 2), ordered=dice.sample(["soup", "fish"], 1),
            numbered=dice.random() < 0.5, reached=dice.randint(1, 3), dwell={"soup": dice.randrange(9000), "tart": dice.randrange(900)},
            minutes_between=dice.choice([1, 30, 600]), offset=dice.choice([-720, -60, 0, 330, 840]), lake_day=dice.choice([None, None, None, LAST]),
            locale=dice.choice(["pt-PT", "en"]),
        )
    return lake


@pytest.mark.parametrize("kind", ["typed", "json"])
def test_the_tables_that_the_page_makes_are_the_sums_of_the_daily_queries(lake, kind):
    """It counts by bands of days, and reads lists of items in its own way: the numbers are those of the texts."""
    connection = odd_visits(lake).connection()
    if kind == "json":
        connection.execute("ALTER VIEW menu_visit_progress RENAME TO of_lists; CREATE VIEW menu_visit_progress AS SELECT * REPLACE (to_json(items) AS items) FROM of_lists")
        connection.execute((QUERIES / "views.json.duckdb.sql").read_text())
    two, six = (periods.Period(LAST - (days - 1) * DAY, LAST) for days in (2, 6))
    bounds = sorted({day for period in (two, six) for both in (period, period.before) for day in (both.first, both.last + DAY)})
    daily.make(connection, [two, six])
    for name in daily.NAMES:
        keys = {"restaurant_id", "menu_id", "day", "locale", "section_id", "item_id", "tenths", "hour"}
        day = "day" if name == "visits" else "bound"
        columns = [
            {"day": f"{day} AS day", "locale": "'' AS locale" if name == "dish_times" else "locale"}.get(column, column) if column in keys
            else f"max({column})" if column.startswith("section_") or column.endswith("_name") else f"sum({column})::BIGINT"
            for column in daily.columns(name)
        ]
        expected = connection.execute(
            f"SELECT {', '.join(columns)} FROM ({daily.sql(name, six.before.first, LAST)}) AS days "
            "ASOF JOIN (SELECT unnest($1::DATE[]) AS bound) AS bounds ON days.day >= bounds.bound GROUP BY ALL ORDER BY ALL", [bounds],
        ).fetchall()
        assert len(expected) > 5
        assert connection.execute(f"SELECT {', '.join(daily.columns(name))} FROM daily_{name} ORDER BY ALL").fetchall() == expected, name


def test_a_day_can_be_made_again_alone(lake):
    """From the folders around it only."""
    connection = odd_visits(lake).connection()
    for name in daily.NAMES:
        whole = connection.execute(daily.sql(name)).fetchall()
        day_place = daily.columns(name).index("day")
        days = sorted({row[day_place] for row in whole})
        assert len(days) >= 6
        for day in days:
            # Only the folders that may be read are there.
            for table in TABLES:
                rows = f"SELECT * FROM {table} WHERE created_date BETWEEN DATE '{day - DAY}' AND DATE '{day + 2 * DAY}'"
                connection.execute(f"CREATE OR REPLACE TEMP TABLE few_{table} AS {rows}")
            text = daily.sql(name, day, day)
            connection.execute("CREATE OR REPLACE TEMP VIEW few_menu_visit_item_report AS SELECT * FROM menu_visit_item_report "
                               f"WHERE created_date BETWEEN DATE '{day - DAY}' AND DATE '{day + 2 * DAY}'")
            for table in [*TABLES, "menu_visit_item_report"]:
                text = re.sub(rf"\b{table}\b", f"few_{table}", text)
            assert connection.execute(text).fetchall() == [row for row in whole if row[day_place] == day], f"{name} of {day}"


def test_the_page_of_daily_tables_in_files_is_the_page_of_the_events(lake, tmp_path):
    connection = two_weeks(lake).connection()
    page = lake.page("--language", "en")
    for name in daily.NAMES:
        connection.execute(f"COPY ({daily.sql(name)}) TO '{tmp_path / name}' (FORMAT parquet, PARTITION_BY (day))")
    of_files = draw(tmp_path, "--daily", tmp_path, "--language", "en")
    assert of_files.code == 0, of_files.stderr
    assert of_files.periods == page.periods
    assert "there are no daily tables in" in draw(tmp_path, "--daily", tmp_path / "none").stderr


def test_the_language_is_that_in_which_most_visits_read(lake):
    lake.visit(LAST, seen=["soup"], locale="en-GB")
    for _ in range(2):
        lake.visit(LAST, seen=["soup"], locale="pt-PT")
    page = lake.page()
    assert page.language == "pt" and "Visitas 3" in page.periods[0] and "sex. 20 nov. 2026" in page.periods[0]
    # Names too: a dish has one in each language.
    assert "Soup pt 100% 3 de 3 visitas" in page.periods[0]
    english = lake.page("--language", "en")
    assert english.language == "en" and "Soup en 100% 3 of 3 visits" in english.periods[0]
    for _ in range(3):
        lake.visit(LAST, locale="fr")
    assert lake.page().language == "en"


def test_numbers_are_written_as_in_the_language():
    assert [Words("en").number(12345.6, 1), Words("pt").number(12345.6, 1), Words("pt").number(1234.5, 1)] == ["12,345.6", "12\N{NO-BREAK SPACE}345,6", "1234,5"]
    assert [Words("en").percent(1, 3), Words("pt").percent(1, 30), Words("en").percent(0, 3)] == ["33%", "3,3%", "0%"]


def test_both_languages_say_everything():
    from insights_page import empty, words

    assert words.TEXTS["en"].keys() == words.TEXTS["pt"].keys() and empty.TEXTS["en"].keys() == empty.TEXTS["pt"].keys()
    for key, english in words.TEXTS["en"].items():
        one, other = ([text] if isinstance(text, str) else list(text) for text in (english, words.TEXTS["pt"][key]))
        assert [set(re.findall(r"{\w+}", text)) for text in one] == [set(re.findall(r"{\w+}", text)) for text in other], key


@pytest.mark.parametrize(("slug", "name"), [
    ("quinta.norte", "Quinta Norte"), ("tasca-do-lago", "Tasca do Lago"), ("wine_list", "Wine List"), ("A-Brasileira", "A Brasileira"),
    ("01a1f4f7-217c-72e4-9724-18562909406c", "01a1f4f7-217c-72e4-9724-18562909406c"), ("---", "---"),
])
def test_an_id_is_shown_as_a_name(slug, name):
    assert name_of(slug) == name


def test_titles_are_names_and_text_is_no_markup(lake):
    lake.visit(LAST, seen=["<b>&"], restaurant="quinta.norte")
    page = lake.page("--language", "en")
    assert "Quinta Norte" in page.head and "Menu: Dinner" in page.head and "quinta.norte" not in page.html
    assert "<B>& pt" in page.periods[0] and "&lt;B&gt;&amp; pt" in page.html


def test_a_long_list_says_how_much_of_it_is_shown_and_the_table_has_all(lake):
    for number in range(20):
        lake.visit(LAST, seen=[f"dish-{number}"])
    page = lake.page("--language", "en")
    assert "Top 15 of 20." in page.periods[0]
    assert all(page.html.count(f">Dish-{number} pt<") >= 2 for number in range(20))


def test_a_menu_that_nobody_opened_says_when_it_was_last(lake):
    lake.visit(LAST, restaurant="full")
    lake.visit(LAST - 10 * DAY, restaurant="quiet")
    full, empty = lake.page("--days", "7", "--language", "en").periods
    assert "Visits 1" in full
    assert "Nobody opened this menu from Sat 14 Nov to Fri 20 Nov 2026. Its last visit was on Tue 10 Nov 2026." in empty and "DAYS=28" in empty


def test_more_menus_than_a_page_holds_are_counted(lake):
    for number in range(22):
        lake.visit(LAST, restaurant=f"casa-{number}")
    page = lake.page("--language", "en")
    assert len(page.periods) == 20 and "The 20 menus with the most visits, of 22." in page.head
    assert len(lake.page("--restaurant", "casa-21").periods) == 1


def test_a_lake_that_is_not_there_or_empty_or_without_menus_says_what_to_do(tmp_path):
    cases = {"There is no lake in": [], "has no events yet": [""], "none of a menu": ["event_type=account/created_date=2026-11-20"]}
    for number, (said, folders) in enumerate(cases.items()):
        lake = tmp_path / f"lake-{number}"
        for folder in folders:
            (lake / folder).mkdir(parents=True)
            if folder:
                (lake / folder / "a.parquet").touch()
        page = draw(tmp_path, "--lake", lake)
        assert page.code == 1 and said in page.stderr and said in page.head
        assert "make demo GUESTS=500" in page.stderr and "make demo GUESTS=500" in page.head
    assert "docs/frontend.md" in page.head
    portuguese = draw(tmp_path, "--lake", tmp_path / "none", "--language", "pt")
    assert portuguese.language == "pt" and "Não há um lake em" in portuguese.head


def test_a_menu_without_visits_says_what_to_do(lake):
    lake.visit(LAST)
    page = lake.page("--restaurant", "nobody")
    assert page.code == 1 and "no visit: no event menu:page:opened of the restaurant and menu that you chose" in page.head and "make demo" in page.stderr


def test_the_speed_command_makes_what_it_says_and_the_page_takes_it(tmp_path):
    import speed

    made = speed.make(tmp_path, 4000, 20)
    assert 3000 < made < 6000
    connection = duckdb.connect()
    connection.execute((tmp_path / "views.sql").read_text())
    page = draw(tmp_path, "--views", tmp_path / "views.sql", "--language", "en")
    assert page.code == 0, page.stderr
    # What the page says of a menu is what a plain count of the tables says.
    restaurant, menu, visits = connection.execute(
        "SELECT restaurant_id, menu_id, count(*) FROM menu_page_opened WHERE created_date > DATE '2026-11-27' - 90 GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 1"
    ).fetchone()
    one = draw(tmp_path, "--views", tmp_path / "views.sql", "--language", "en", "--restaurant", restaurant, "--menu", menu, "--to", "2026-11-27", "--days", "90")
    assert f"Visits {visits} " in one.periods[0]


def test_with_watch_the_page_is_drawn_again_when_the_lake_has_new_files(gateway, tmp_path):
    from test_insights import events

    out = tmp_path / "insights.html"
    command = [sys.executable, QUERIES / "insights.py", "--binary", binary(), "--lake", gateway.data / "lake", "--out", out, "--watch", "--port", "0", "--language", "en"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        try:
            first = wait_until("the first page", 20, lambda: out.exists() and out.read_text())
            assert "has no events yet" in first and "<script>" in first, "what is empty is watched too"
            for about in events():
                if about["event_name"] == "menu:page:opened":
                    assert gateway.post(json.dumps(about)).status == 202
            wait_until("the visits", 30, lambda: "Tasca" in out.read_text() and "Other" in out.read_text())
        finally:
            watching.terminate()
        # From typed tables, which it builds before it asks them.
        assert "from the JSON" not in watching.communicate()[1] and (gateway.data / "lake-typed/menu_page_opened/_delta_log").is_dir()
