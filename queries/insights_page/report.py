"""The numbers of the page: from the daily tables, for each menu and period, and for the period before."""

import datetime
from dataclasses import dataclass, field

import duckdb
from insights_page.periods import Period
from insights_page.words import name_of

# The sums of each period, and of the one before it.
IN_PERIODS = "JOIN periods ON day BETWEEN periods.first AND periods.last JOIN shown USING (restaurant_id, menu_id)"
KEYS = "restaurant_id, menu_id, period, is_before"

# By day, and by weekday (Monday is 0) and hour: few rows, where days and hours together are many.
DAYS = f"""
    SELECT {KEYS}, day, sum(visits)::BIGINT FROM daily_visits {IN_PERIODS} GROUP BY {KEYS}, day
"""
HOURS = f"""
    SELECT {KEYS}, isodow(day) - 1 AS weekday, hour, sum(visits)::BIGINT, sum(visits_ordered)::BIGINT, sum(orders)::BIGINT, sum(quantity)::BIGINT
    FROM daily_visits {IN_PERIODS} GROUP BY {KEYS}, weekday, hour
"""
SECTIONS = f"""
    SELECT {KEYS}, section_id, max_by(section_index, day), sum(visits_reached)::BIGINT, sum(visits_stopped)::BIGINT
    FROM daily_sections {IN_PERIODS} GROUP BY {KEYS}, section_id
"""
DISHES = f"""
    SELECT {KEYS}, item_id, sum(visits_viewed)::BIGINT, sum(views)::BIGINT, sum(visits_ordered)::BIGINT, sum(quantity)::BIGINT
    FROM daily_dishes {IN_PERIODS} GROUP BY {KEYS}, item_id
"""
# The median of tenths of a second: the one in the middle, or the mean of the two. All periods side by side, so that the rows are sorted once; dishes as
# numbers, because they are sorted.
TIMES = """
    WITH numbered AS (
        SELECT restaurant_id, menu_id, item_id, row_number() OVER ()::INTEGER AS dish
        FROM (SELECT DISTINCT restaurant_id, menu_id, item_id FROM daily_dish_times SEMI JOIN shown USING (restaurant_id, menu_id))
    ),
    sums AS (
        SELECT dish, tenths, {sums}
        FROM daily_dish_times JOIN numbered USING (restaurant_id, menu_id, item_id) GROUP BY dish, tenths
    ),
    totals AS (SELECT dish, {totals} FROM sums GROUP BY dish),
    placed AS (SELECT dish, tenths, {uptos} FROM sums WINDOW sorted AS (PARTITION BY dish ORDER BY tenths)),
    medians AS (SELECT dish, {medians} FROM placed JOIN totals USING (dish) GROUP BY dish)
    SELECT restaurant_id, menu_id, item_id, {columns} FROM medians JOIN numbered USING (dish)
"""
OF_A_PERIOD = {
    "sums": "coalesce(sum(visits) FILTER (WHERE day BETWEEN DATE '{first}' AND DATE '{last}'), 0)::BIGINT AS n{place}",
    "totals": "sum(n{place})::BIGINT AS total{place}",
    "uptos": "sum(n{place}) OVER sorted AS upto{place}",
    "medians": "any_value(total{place}) AS visits{place}, "
    "(min(tenths) FILTER (WHERE 2 * upto{place} >= total{place}) + min(tenths) FILTER (WHERE 2 * upto{place} > total{place})) / 20.0 AS median{place}",
    "columns": "visits{place}, median{place}",
}
# Names as the readers of the page read them: a dish has one in every language. The newest counts.
PART_NAMES = """
    SELECT restaurant_id, menu_id, {part}_id, max_by({part}_name, (starts_with(locale, ?), day))
    FROM daily_{table} JOIN shown USING (restaurant_id, menu_id) WHERE {part}_name IS NOT NULL GROUP BY ALL
"""
LANGUAGES = """
    SELECT CASE WHEN locale = 'pt' OR starts_with(locale, 'pt-') THEN 'pt' ELSE 'en' END AS language
    FROM daily_visits JOIN shown USING (restaurant_id, menu_id) WHERE locale <> '' GROUP BY locale ORDER BY sum(visits) DESC, locale LIMIT 1
"""


@dataclass
class Numbers:
    """What happened on one menu in one period."""

    visits: int = 0
    visits_ordered: int = 0
    orders: int = 0
    quantity: int = 0
    by_day: dict[datetime.date, int] = field(default_factory=dict)
    # Visits and orders.
    by_hour: dict[int, tuple[int, int]] = field(default_factory=dict)
    by_weekday_and_hour: dict[tuple[int, int], int] = field(default_factory=dict)
    # By id: position, visits that reached it, visits that went no further.
    sections: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    # By id: visits that viewed it, views, visits that ordered it then, portions.
    dishes: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    # By id: visits that came past it, median seconds.
    times: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def visits_in_sections(self) -> int:
        """Visits that reached any section."""
        return sum(stopped for _, _, stopped in self.sections.values())

    def add(self, weekday: int, hour: int, visits: int, ordered: int, orders: int, quantity: int) -> None:
        self.visits += visits
        self.visits_ordered += ordered
        self.orders += orders
        self.quantity += quantity
        known = self.by_hour.get(hour, (0, 0))
        self.by_hour[hour] = (known[0] + visits, known[1] + orders)
        self.by_weekday_and_hour[weekday, hour] = visits


@dataclass
class Menu:
    """One menu of one restaurant, with its numbers of each period: those of the period, and those before."""

    restaurant_id: str
    menu_id: str
    begin: datetime.date
    end: datetime.date
    numbers: list[Numbers]
    before: list[Numbers | None]
    dish_names: dict[str, str] = field(default_factory=dict)
    section_names: dict[str, str] = field(default_factory=dict)

    def dish(self, dish_id: str) -> str:
        return self.dish_names.get(dish_id) or name_of(dish_id)

    def section(self, section_id: str) -> str:
        return self.section_names.get(section_id) or name_of(section_id)


@dataclass
class Shown:
    """A menu that the page shows: which, and the days of its first and last visit."""

    restaurant_id: str
    menu_id: str
    begin: datetime.date
    end: datetime.date


def language_of(connection: duckdb.DuckDBPyConnection, shown: list[Shown]) -> str:
    """The language in which most visits read; English where the events do not say."""
    _choose(connection, shown)
    found = connection.execute(LANGUAGES).fetchone()
    return found[0] if found else "en"


def menus(connection: duckdb.DuckDBPyConnection, shown: list[Shown], periods: list[Period], language: str) -> list[Menu]:
    """Asks the daily tables, each once for all menus and periods."""
    _choose(connection, shown)
    connection.execute("CREATE OR REPLACE TEMP TABLE periods (period INTEGER, is_before BOOLEAN, first DATE, last DATE)")
    for number, period in enumerate(periods):
        rows = [(number, False, period.first, period.last), (number, True, period.before.first, period.before.last)]
        connection.executemany("INSERT INTO periods VALUES (?, ?, ?, ?)", rows)
    found = {}
    for menu in shown:
        # What the data does not cover is no comparison.
        before = [Numbers() if menu.begin <= period.before.first else None for period in periods]
        found[menu.restaurant_id, menu.menu_id] = Menu(
            menu.restaurant_id, menu.menu_id, menu.begin, menu.end, [Numbers() for _ in periods], before
        )

    def ask(sql: str, *parameters):
        """Each row without its keys, and the numbers to which it belongs."""
        for restaurant, menu, period, is_before, *row in connection.execute(sql, parameters).fetchall():
            about = found[restaurant, menu]
            numbers = (about.before if is_before else about.numbers)[period]
            if numbers is not None:
                yield numbers, row

    for numbers, (day, visits) in ask(DAYS):
        numbers.by_day[day] = visits
    for numbers, row in ask(HOURS):
        numbers.add(*row)
    for numbers, (section, *row) in ask(SECTIONS):
        numbers.sections[section] = tuple(row)
    for numbers, (dish, *row) in ask(DISHES):
        numbers.dishes[dish] = tuple(row)
    for restaurant, menu, dish, *places in connection.execute(_times(periods)).fetchall():
        about = found[restaurant, menu]
        for numbers, visits, median in zip([*about.numbers, *about.before], places[::2], places[1::2]):
            if numbers is not None and visits:
                numbers.times[dish] = (visits, median)
    for part, table, names in (("item", "dishes", "dish_names"), ("section", "sections", "section_names")):
        for restaurant, menu, part_id, name in connection.execute(PART_NAMES.format(part=part, table=table), [language]).fetchall():
            getattr(found[restaurant, menu], names)[part_id] = name
    return list(found.values())


def _times(periods: list[Period]) -> str:
    """First the periods, then those before them."""
    days = [*periods, *(period.before for period in periods)]
    parts = {
        part: ", ".join(text.format(place=place, first=period.first, last=period.last) for place, period in enumerate(days)) for part, text in OF_A_PERIOD.items()
    }
    return TIMES.format(**parts)


def _choose(connection: duckdb.DuckDBPyConnection, shown: list[Shown]) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE shown (restaurant_id VARCHAR, menu_id VARCHAR)")
    connection.executemany("INSERT INTO shown VALUES (?, ?)", [(menu.restaurant_id, menu.menu_id) for menu in shown])
