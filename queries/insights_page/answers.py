"""The answers for one menu in one period."""

from insights_page import draw
from insights_page.draw import Bar, Column, text
from insights_page.periods import Period
from insights_page.report import Menu, Numbers
from insights_page.words import Words

# A share of fewer visits than this is chance: such dishes come last.
FEW_VISITS = 10
APPETIZERS = "appetizers"


def answers(menu: Menu, numbers: Numbers, before: Numbers | None, period: Period, words: Words) -> str:
    visits = words.count("visit_n", numbers.visits)
    articles = [
        ("by_day", words.say("by_day_line"), _by_day(numbers, before, period, words), "wide"),
        ("viewed", words.say("viewed_line", n=visits), _viewed(menu, numbers, before, words), ""),
        ("time", words.say("time_line"), _times(menu, numbers, before, words), ""),
        ("down", words.say("down_line", n=visits), _down(menu, numbers, before, words), ""),
        ("stops", words.say("stops_line", n=words.count("visit_n", numbers.visits_in_sections)), _stops(menu, numbers, before, words), ""),
        ("convert", words.say("convert_line", few=FEW_VISITS), _convert(menu, numbers, before, words), "tall"),
        ("by_hour", words.say("by_hour_line"), _by_hour(numbers, words), ""),
        ("by_week", words.say("by_week_line", most=words.count("visit_n", max(numbers.by_weekday_and_hour.values()))), _by_week(numbers, words), ""),
    ]
    drawn = "".join(
        f'<article class="{place}"><h3>{text(words.say(name))}</h3><p>{text(line)}</p>{chart}</article>'
        for name, line, chart, place in articles
    )
    return f'{_figures(menu, numbers, before, words)}<div class="grid">{drawn}</div>'


def _figures(menu: Menu, numbers: Numbers, before: Numbers | None, words: Words) -> str:
    """The large numbers on top, each with what it is of, and what it was before."""

    def share(part: int, whole: int) -> str:
        return f"{words.percent(part, whole)} ({words.say('n_of', part=words.number(part), n=words.number(whole))})"

    figures = [
        (words.say("visits"), words.number(numbers.visits), "", before and words.number(before.visits)),
        (words.say("orders"), words.number(numbers.orders), words.count("portions", numbers.quantity), before and words.number(before.orders)),
        (
            words.say("ordering"), words.percent(numbers.visits_ordered, numbers.visits),
            words.count("n_of_visits", numbers.visits, part=words.number(numbers.visits_ordered)),
            before and before.visits and share(before.visits_ordered, before.visits),
        ),
    ]
    if APPETIZERS in numbers.sections:
        _, reached, stopped = numbers.sections[APPETIZERS]
        _, was_reached, was_stopped = (before.sections if before else {}).get(APPETIZERS, (0, 0, 0))
        figures.append((
            words.say("stop_appetizers", name=menu.section(APPETIZERS)), words.percent(stopped, reached),
            words.count("n_of_visits", reached, part=words.number(stopped)), was_reached and share(was_stopped, was_reached),
        ))
    items = "".join(
        f'<div><dt>{text(label)}</dt><dd><b>{text(value)}</b> <span class="of">{text(of)}</span>'
        f'<span class="was">{text(words.say("before_was", value=was) if was else words.say("no_before"))}</span></dd></div>'
        for label, value, of, was in figures
    )
    return f'<dl class="figures">{items}</dl>'


def _by_day(numbers: Numbers, before: Numbers | None, period: Period, words: Words) -> str:
    shift = period.first - period.before.first
    days = period.all_days()
    was = [before.by_day.get(day - shift, 0) if before else None for day in days]
    counts = [numbers.by_day.get(day, 0) for day in days]
    best = max(range(len(days)), key=lambda place: counts[place])
    said = f"{words.say('by_day')}: {words.day(days[best])}, {words.count('visit_n', counts[best])}"
    short = len(days) <= 7
    drawn = [Column(words.weekday(day.weekday()) if short else words.short_day(day), [count], old) for day, count, old in zip(days, counts, was)]
    head = [words.say("day"), words.say("visits")] + ([words.say("before")] if before else [])
    rows = [[words.day(day), words.number(count)] + ([words.number(old)] if before else []) for day, count, old in zip(days, counts, was)]
    note = f'<p class="note">{text(words.say("mark"))}</p>' if before else ""
    return draw.columns(drawn, said, 1 if short else 7 if len(days) <= 35 else 28) + note + draw.table(words, head, rows)


def _by_hour(numbers: Numbers, words: Words) -> str:
    counts = [numbers.by_hour.get(hour, (0, 0)) for hour in range(24)]
    best = max(range(24), key=lambda hour: counts[hour][0])
    said = f"{words.say('by_hour')}: {best}:00, {words.count('visit_n', counts[best][0])}, {words.count('order_n', counts[best][1])}"
    drawn = draw.columns([Column(str(hour), list(pair)) for hour, pair in enumerate(counts)], said, 3, [words.say("visits"), words.say("orders")])
    rows = [[f"{hour}:00", words.number(visits), words.number(orders)] for hour, (visits, orders) in enumerate(counts)]
    return drawn + draw.table(words, [words.say("hour"), words.say("visits"), words.say("orders")], rows)


def _by_week(numbers: Numbers, words: Words) -> str:
    cells = numbers.by_weekday_and_hour
    weekday, hour = max(sorted(cells), key=lambda cell: cells[cell])
    said = f"{words.say('by_week')}: {words.weekday(weekday)} {hour}:00, {words.count('visit_n', cells[weekday, hour])}"
    rows = [[words.weekday(day), *(words.number(cells.get((day, hour), 0)) for hour in range(24))] for day in range(7)]
    return draw.heat(cells, words, said) + draw.table(words, [words.say("weekday"), *(str(hour) for hour in range(24))], rows)


def _shares(rows: list[tuple], words: Words, part: str, colour: str, of: str = "n_of_visits") -> str:
    """Bars of shares: (label, part, whole, part before, whole before); without a whole before there was nothing to compare."""
    has_before = any(row[4] for row in rows)
    drawn = []
    for label, count, whole, was, was_whole in rows:
        cells = [words.percent(count, whole), words.number(count), words.number(whole)]
        cells += [f"{words.percent(was, was_whole)} ({words.say('n_of', part=words.number(was), n=words.number(was_whole))})" if was_whole else "–"] if has_before else []
        drawn.append(Bar(
            label, words.percent(count, whole), words.count(of, whole, part=words.number(count)), count / whole, was / was_whole if was_whole else None, cells,
        ))
    head = [words.say(part), words.say("share"), words.say("visits"), words.say("of")] + ([words.say("before")] if has_before else [])
    return draw.bars(drawn, words, head, colour)


def _viewed(menu: Menu, numbers: Numbers, before: Numbers | None, words: Words) -> str:
    old = before.dishes if before else {}
    rows = [
        (menu.dish(dish), viewed, numbers.visits, old.get(dish, (0,))[0], before.visits if before else 0)
        for dish, (viewed, *_) in numbers.dishes.items() if viewed
    ]
    return _shares(sorted(rows, key=lambda row: (-row[1], row[0])), words, "dish", "clay")


def _times(menu: Menu, numbers: Numbers, before: Numbers | None, words: Words) -> str:
    old = before.times if before else {}
    most = max((seconds for _, seconds in numbers.times.values()), default=0) or 1
    drawn = []
    for dish, (visits, seconds) in sorted(numbers.times.items(), key=lambda item: (-item[1][1], menu.dish(item[0]))):
        was = old.get(dish)
        cells = [words.number(seconds, 1), words.number(visits)] + ([words.number(was[1], 1) if was else "–"] if old else [])
        value = words.say("seconds", n=words.number(seconds, 1))
        drawn.append(Bar(menu.dish(dish), value, words.count("visit_n", visits), seconds / most, was[1] / most if was else None, cells))
    head = [words.say("dish"), words.say("median"), words.say("visits")] + ([words.say("before")] if old else [])
    return draw.bars(drawn, words, head, "deep")


def _sections(menu: Menu, numbers: Numbers) -> list[tuple[str, int, int]]:
    """In the order of the menu: id, visits that reached it, visits that went no further."""
    ordered = sorted(numbers.sections.items(), key=lambda item: (item[1][0], item[0]))
    return [(section, reached, stopped) for section, (_, reached, stopped) in ordered]


def _down(menu: Menu, numbers: Numbers, before: Numbers | None, words: Words) -> str:
    old = before.sections if before else {}
    rows = [
        (menu.section(section), reached, numbers.visits, old.get(section, (0, 0, 0))[1], before.visits if before else 0)
        for section, reached, _ in _sections(menu, numbers)
    ]
    return _shares(rows, words, "section", "gold")


def _stops(menu: Menu, numbers: Numbers, before: Numbers | None, words: Words) -> str:
    old = before.sections if before else {}
    rows = [
        (menu.section(section), stopped, numbers.visits_in_sections, old.get(section, (0, 0, 0))[2], before.visits_in_sections if before else 0)
        for section, _, stopped in _sections(menu, numbers)
    ]
    return _shares(rows, words, "section", "wine")


def _convert(menu: Menu, numbers: Numbers, before: Numbers | None, words: Words) -> str:
    old = before.dishes if before else {}
    rows = []
    for dish, (viewed, _, ordered, _) in numbers.dishes.items():
        if viewed:
            was_viewed, _, was_ordered, _ = old.get(dish, (0, 0, 0, 0))
            rows.append((menu.dish(dish), ordered, viewed, was_ordered, was_viewed))
    rows.sort(key=lambda row: (row[2] < FEW_VISITS, -row[1] / row[2], -row[2], row[0]))
    return _shares(rows, words, "dish", "leaf")
