"""The page as a whole: a part for each menu, in it one for each period, in it the answers."""

import datetime
from pathlib import Path

from insights_page.answers import answers
from insights_page.draw import text
from insights_page.periods import Period
from insights_page.report import Menu
from insights_page.words import Words, name_of

HERE = Path(__file__).resolve().parent
STYLE = (HERE / "page.css").read_text()
# For a page that `WATCH=1` serves: it takes what is new into itself. Else the page has no script.
REFRESH = (HERE / "refresh.js").read_text()


def frame(language: str, title: str, body: str, is_watched: bool) -> str:
    script = f"<script>{REFRESH}</script>" if is_watched else ""
    return (
        f'<!doctype html>\n<html lang="{language}">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{text(title)}</title>\n<style>{STYLE}</style>\n{body}\n{script}</html>\n'
    )


def page(menus: list[Menu], periods: list[Period], words: Words, menus_in_all: int, now: datetime.datetime, is_watched: bool = False) -> str:
    """The page of these menus."""
    titles = [title(menu) for menu in menus]
    nav = ""
    if len(menus) > 1:
        links = "".join(f'<li><a href="#menu-{number}">{text(name)} · {text(name_of(menu.menu_id))}</a></li>' for number, (menu, name) in enumerate(zip(menus, titles)))
        nav = f'<nav aria-label="{text(words.say("menus"))}"><ul>{links}</ul></nav>'
        if menus_in_all > len(menus):
            nav += f'<p class="note">{text(words.say("menus_shown", shown=words.number(len(menus)), n=words.number(menus_in_all)))}</p>'
    head = titles[0] if len(set(titles)) == 1 else words.say("title")
    drawn = words.say("drawn", date=words.day(now.date(), year=True), time=f"{now:%H:%M}")
    is_one = len(set(titles)) == 1
    parts = "".join(_menu(menu, periods, words, number, now.date(), is_one) for number, menu in enumerate(menus))
    body = f'<main>\n<header><h1>{text(head)}</h1>{nav}{_choice(periods, words)}</header>\n{parts}\n<footer><p>{text(drawn)}</p></footer>\n</main>'
    return frame(words.language, f"{words.say('title')} · {head}" if head != words.say("title") else head, body, is_watched)


def title(menu: Menu) -> str:
    return name_of(menu.restaurant_id)


def days(period: Period, words: Words) -> str:
    if period.days == 1:
        return words.day(period.first, year=True)
    return words.say("covered", first=words.day(period.first, year=period.first.year != period.last.year), last=words.day(period.last, year=True))


def _choice(periods: list[Period], words: Words) -> str:
    """The buttons that choose the period. One period is no choice."""
    if len(periods) == 1:
        return ""
    buttons = "".join(
        f'<label><input type="radio" name="period" id="period-{number}"{" checked" if number == 0 else ""}><span>{text(words.say("last_days", n=period.days))}</span></label>'
        for number, period in enumerate(periods)
    )
    return f'<fieldset><legend>{text(words.say("period"))}</legend>{buttons}</fieldset>'


def _menu(menu: Menu, periods: list[Period], words: Words, number: int, today: datetime.date, is_one_restaurant: bool) -> str:
    parts = "".join(_period(menu, place, period, words, today) for place, period in enumerate(periods))
    heading = words.say("menu", menu=name_of(menu.menu_id))
    heading = heading if is_one_restaurant else f"{title(menu)} · {heading}"
    return f'<section class="menu" id="menu-{number}" aria-labelledby="menu-{number}-name"><h2 id="menu-{number}-name">{text(heading)}</h2>{parts}</section>\n'


def _period(menu: Menu, place: int, period: Period, words: Words, today: datetime.date) -> str:
    lines = [f"<b>{text(days(period, words))}</b>"]
    if period.last >= today:
        lines.append(text(words.say("unfinished")))
    before = period.before
    if menu.before[place] is not None:
        first, last = words.day(before.first), words.day(before.last)
        lines.append(text(words.say("compared_day", first=first) if before.days == 1 else words.say("compared", first=first, last=last)))
    else:
        said = words.say("not_compared", first=words.day(before.first), last=words.day(before.last), begin=words.day(menu.begin, year=True))
        lines.append(text(said))
    numbers = menu.numbers[place]
    if numbers.visits:
        body = answers(menu, numbers, menu.before[place], period, words)
    else:
        nobody = words.say("nobody", first=words.day(period.first), last=words.day(period.last, year=True), last_visit=words.day(menu.end, year=True))
        body = f'<div class="empty"><p>{text(nobody)}</p><p>{text(words.say("nobody_do"))}</p></div>'
    return f'<div class="period p{place}"><p class="days">{" ".join(lines)}</p>{body}</div>'
