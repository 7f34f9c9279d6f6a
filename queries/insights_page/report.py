"""The numbers of the page: from the daily tables, for each menu and period, and for the period before."""

import datetime
from dataclasses import dataclass, field

import duckdb
from insights_page.periods import Period
from insights_page.words import name_of

# The sums of each period, and of the one before it.
IN_PERIODS = "JOIN periods ON day BETWEEN periods.first AND periods.last JOIN shown USING (restaurant_id, menu_id)"
KEYS = "restaurant_id, menu_id, period, is_before"

VISITS = f"""
    SELECT {KEYS}, day, hour, sum(visits)::BIGINT, sum(visits_ordered)::BIGINT, sum(orders)::BIGINT, sum(quantity)::BIGINT
    FROM daily_visits {IN_PERIODS} GROUP BY ALL
"""
SECTIONS = f"""
    SELECT {KEYS}, section_id, max_by(section_index, day), sum(visits_reached)::BIGINT, sum(visits_stopped)::BIGINT
    FROM daily_sections {IN_PERIODS} GROUP BY {KEYS}, section_id
"""
DISHES = f"""
    SELECT {KEYS}, item_id, sum(visits_viewed)::BIGINT, sum(views)::BIGINT, sum(visits_ordered)::BIGINT, sum(quantity)::BIGINT
    FROM daily_dishes {IN_PERIODS} GROUP BY {KEYS}, item_id
"""
# The median of tenths of a second: the one in the middle, or the mean of the two. Dishes and periods as numbers, because they are sorted.
TIMES = f"""
    WITH dishes AS (SELECT restaurant_id, menu_id, item_id, row_number() OVER ()::INTEGER AS dish FROM daily_dish_times GROUP BY ALL),
    sums AS (
        SELECT dish, 2 * period + is_before::INTEGER AS place, tenths, sum(visits)::BIGINT AS n
        FROM daily_dish_times {IN_PERIODS} JOIN dishes USING (restaurant_id, menu_id, item_id) GROUP BY ALL
    ),
    placed AS (
        SELECT *, sum(n) OVER (PARTITION BY dish, place ORDER BY tenths) AS upto, sum(n) OVER (PARTITION BY dish, place) AS total FROM sums
    ),
    medians AS (
        SELECT dish, place, max(total)::BIGINT AS visits,
            (min(tenths) FILTER (WHERE 2 * upto >= total) + min(tenths) FILTER (WHERE 2 * upto > total)) / 20.0 AS median
        FROM placed GROUP BY dish, place
    )
    SELECT restaurant_id, menu_id, place // 2, place % 2 = 1, item_id, visits, median FROM medians JOIN dishes USING (dish)
"""
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

    def add(self, day: datetime.date, hour: int, visits: int, ordered: int, orders: int, quantity: int) -> None:
        self.visits += visits
        self.visits_ordered += ordered
        self.orders += orders
        self.quantity += quantity
        self.by_day[day] = self.by_day.get(day, 0) + visits
        known = self.by_hour.get(hour, (0, 0))
        self.by_hour[hour] = (known[0] + visits, known[1] + orders)
        cell = (day.weekday(), hour)
        self.by_weekday_and_hour[cell] = self.by_weekday_and_hour.get(cell, 0) + visits


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

    for numbers, row in ask(VISITS):
        numbers.add(*row)
    for numbers, (section, *row) in ask(SECTIONS):
        numbers.sections[section] = tuple(row)
    for numbers, (dish, *row) in ask(DISHES):
        numbers.dishes[dish] = tuple(row)
    for numbers, (dish, *row) in ask(TIMES):
        numbers.times[dish] = tuple(row)
    for part, table, names in (("item", "dishes", "dish_names"), ("section", "sections", "section_names")):
        for restaurant, menu, part_id, name in connection.execute(PART_NAMES.format(part=part, table=table), [language]).fetchall():
            getattr(found[restaurant, menu], names)[part_id] = name
    return list(found.values())


def _choose(connection: duckdb.DuckDBPyConnection, shown: list[Shown]) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE shown (restaurant_id VARCHAR, menu_id VARCHAR)")
    connection.executemany("INSERT INTO shown VALUES (?, ?)", [(menu.restaurant_id, menu.menu_id) for menu in shown])
