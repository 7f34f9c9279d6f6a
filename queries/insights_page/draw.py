"""Charts as HTML and CSS: text keeps its size at every width, and each chart has its numbers as a table."""

import html
from dataclasses import dataclass, field

from insights_page.words import Words

# How many bars a chart shows; the table has all.
BARS_MAX = 15


def text(value) -> str:
    return html.escape(str(value))


@dataclass
class Bar:
    """A labelled bar: what it says, of how many, and how long it and the one of the period before are, from 0 to 1."""

    label: str
    value: str
    of: str
    length: float
    before: float | None = None
    # The cells of its row in the table, behind the label.
    cells: list[str] = field(default_factory=list)


def bars(rows: list[Bar], words: Words, head: list[str], colour: str) -> str:
    """Horizontal bars, in the order in which they come, the first ones of them; and the table of all."""
    if not rows:
        return f'<p class="none">{text(words.say("nothing"))}</p>'
    shown = rows[:BARS_MAX]
    items = "".join(
        f'<li><span class="label">{text(row.label)}</span> <span class="value"><b>{text(row.value)}</b> <span class="of">{text(row.of)}</span></span>'
        f'<span class="track" aria-hidden="true"><i style="width:{100 * min(row.length, 1):.1f}%"></i>{_mark(row.before)}</span></li>'
        for row in shown
    )
    notes = [words.say("top", shown=words.number(len(shown)), n=words.number(len(rows)))] if len(rows) > len(shown) else []
    notes += [words.say("mark")] if any(row.before is not None for row in shown) else []
    note = f'<p class="note">{text(" ".join(notes))}</p>' if notes else ""
    return f'<ol class="bars {colour}">{items}</ol>{note}' + table(words, head, [[row.label, *row.cells] for row in rows])


def _mark(before: float | None) -> str:
    return "" if before is None else f'<u style="left:{100 * min(before, 1):.1f}%"></u>'


def table(words: Words, head: list[str], rows: list[list[str]]) -> str:
    """The numbers of a chart, behind a line that opens them."""
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<details><summary>{text(words.say("as_table"))}</summary><div class="wide-table" tabindex="0" role="group" '
        f'aria-label="{text(words.say("as_table"))}: {text(head[0])}"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div></details>'
    )


@dataclass
class Column:
    """One or two upright bars with the label that may stand below them."""

    label: str
    values: list[int]
    before: int | None = None


def columns(rows: list[Column], said: str, every: int, series: list[str] | None = None) -> str:
    """Upright bars, one or two for each place; the label of each `every`-th. `said` is what the picture shows, for who cannot see it."""
    most = max((max([*row.values, row.before or 0]) for row in rows), default=0) or 1
    drawn = "".join(
        f'<div class="column">{"".join(_upright(number, value, most) for number, value in enumerate(row.values))}'
        f"{'' if row.before is None else _before(row.before, most)}</div>"
        for row in rows
    )
    labels = "".join(
        f'<span style="left:{100 * (number + 0.5) / len(rows):.2f}%">{text(row.label)}</span>'
        for number, row in enumerate(rows) if number % every == 0
    )
    legend = "".join(f'<span class="key s{number}">{text(name)}</span>' for number, name in enumerate(series or []))
    return (
        f'<div role="img" aria-label="{text(said)}"><div class="most" aria-hidden="true">{most}</div><div class="columns{" many" if len(rows) > 40 else ""}">{drawn}</div>'
        f'<div class="labels" aria-hidden="true">{labels}</div></div>' + (f'<p class="note">{legend}</p>' if legend else "")
    )


def _upright(number: int, value: int, most: int) -> str:
    return f'<i class="s{number}" style="height:{100 * value / most:.1f}%"></i>'


def _before(value: int, most: int) -> str:
    return f'<u style="bottom:{100 * value / most:.1f}%"></u>'


def heat(cells: dict[tuple[int, int], int], words: Words, said: str) -> str:
    """Weekdays by hours: darker is more. All 24 hours are there, also those in which nothing happened."""
    most = max(cells.values(), default=0) or 1
    rows = "".join(
        f'<div class="heat-row"><span>{text(words.weekday(weekday))}</span>'
        + "".join(_cell(cells.get((weekday, hour), 0) / most) for hour in range(24))
        + "</div>"
        for weekday in range(7)
    )
    labels = "".join(f'<span style="left:{100 * (hour + 0.5) / 24:.2f}%">{hour}</span>' for hour in range(0, 24, 3))
    return f'<div role="img" aria-label="{text(said)}" class="heat">{rows}<div class="heat-row"><span></span><div class="labels" aria-hidden="true">{labels}</div></div></div>'


def _cell(share: float) -> str:
    return f'<i style="--share:{100 * share:.0f}%"></i>' if share else "<i></i>"
