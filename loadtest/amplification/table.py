"""The table in Markdown, and which attacks are above a bound."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from amplification.attacks import Attack
from amplification.flood import Tally
from amplification.measure import Cost

CPU_RATIO_MAX = 50
"""Times what an ordinary event costs for each byte, at line rate."""
DISK_RATIO_MAX = 16
"""Bytes of spool and dead letters for each byte of a request that was not refused."""
HONEST_MS_MAX = 50
HONEST_QUIET_MAX = 2
"""Times the quiet p99."""
HEALTH_MS_MAX = 1_000

BEGIN, END = "<!-- amplification: written by `make amplification` -->", "<!-- /amplification -->"
HEADS = ("attack", "sent with", "MB sent", "CPU", "memory", "disk", "answer", "honest p99, ms", "refused", "health, ms", "answers")


@dataclass
class Run:
    """What one binary came to."""

    baselines: dict[tuple[str, str], Cost] = field(default_factory=dict)
    """Ordinary events, by key and wire."""
    quiet: dict[bool, Cost] = field(default_factory=dict)
    """The honest sender alone, without TLS and with it."""
    costs: dict[Attack, Cost] = field(default_factory=dict)

    def baseline(self, attack: Attack) -> Cost:
        # Without a key, and over TLS, that of a service in plaintext: it is the cheapest.
        return self.baselines[attack.key or "server", "h2" if attack.wire == "h2" else "h1"]

    def cpu_ratio(self, attack: Attack) -> float:
        return self.costs[attack].cpu_per_byte / self.baseline(attack).cpu_per_byte

    def is_slow(self, attack: Attack) -> bool:
        """Whether the honest sender waits longer than it should, beside this attack."""
        return self.p99(attack) > min(HONEST_MS_MAX, max(HONEST_QUIET_MAX * self.quiet_p99(attack), 1))

    def p99(self, attack: Attack) -> float:
        return self.costs[attack].heard.percentile(99)

    def quiet_p99(self, attack: Attack) -> float:
        return self.quiet[attack.wire == "tls"].heard.percentile(99)


def number(value: float) -> str:
    """Two digits that count."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    if value >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}" if value >= 0.01 else "<0.01"


def marked(text: str, is_above: bool) -> str:
    return f"**{text}**" if is_above else text


def statuses(tally: Tally) -> str:
    total = tally.statuses.total()
    shares = [(count / total, status) for status, count in tally.statuses.most_common(3)]
    return ", ".join(f"{status or 'other'} {share * 100:.0f} %" for share, status in shares if share >= 0.005) or "none"


def cells(run: Run, attack: Attack) -> list[str]:
    """The measured cells of a row: CPU to health."""
    cost, ratio = run.costs[attack], run.cpu_ratio(attack)
    heard, sent = cost.heard, max(1, cost.tally.sent)
    return [
        marked(("" if cost.is_whole else "≥ ") + number(ratio), ratio > CPU_RATIO_MAX),
        number(cost.memory / sent),
        marked(number(cost.disk_per_byte), cost.disk_per_byte > DISK_RATIO_MAX),
        number(cost.tally.answered / sent) if attack.reads else "–",
        marked(number(run.p99(attack)), run.is_slow(attack)),
        marked(f"{heard.refused}", heard.refused > 0),
        marked(number(heard.health_ms), heard.health_ms > HEALTH_MS_MAX),
    ]


def above(run: Run) -> list[str]:
    """What is above a bound, one line each."""
    found = []
    for attack, cost in run.costs.items():
        if (ratio := run.cpu_ratio(attack)) > CPU_RATIO_MAX:
            found.append(f"CPU {number(ratio)} × (bound {CPU_RATIO_MAX}): {attack.name}, {attack.sender}: "
                         f"{cost.cpu_seconds * 1000:.0f} ms for {cost.tally.sent:,} bytes")
        if cost.disk_per_byte > DISK_RATIO_MAX:
            found.append(f"disk {number(cost.disk_per_byte)} × (bound {DISK_RATIO_MAX}): {attack.name}, {attack.sender}: "
                         f"{cost.spool + cost.letters:,} bytes for {cost.tally.stored or cost.tally.sent:,.0f}; "
                         f"{cost.tally.sent:,} with those that were refused")
    return found


def disturbed(run: Run) -> list[str]:
    """The attacks beside which the honest sender, or a probe of /healthz, waits too long."""
    found = []
    for attack, cost in run.costs.items():
        if run.is_slow(attack) or cost.heard.refused or cost.heard.health_ms > HEALTH_MS_MAX:
            found.append(f"{attack.name}, {attack.sender}")
    return found


def markdown(after: Run, before: Run | None, seconds: float) -> str:
    """The table and its head."""
    runs = [run for run in (before, after) if run]

    def pair(values: list[str]) -> str:
        return " → ".join(values)

    def micros(run: Run, key: str, wire: str) -> str:
        cost = run.baselines[key, wire]
        return f"{cost.cpu_seconds * 1e6 / max(1, cost.tally.requests):.0f}"

    events = "; ".join(f"{key} key, {wire}: " + pair([micros(run, key, wire) for run in runs]) for key, wire in after.baselines)
    alone = [run.quiet[False].heard for run in runs]
    quiet = pair([f"{number(heard.percentile(50))} and {number(heard.percentile(99))}" for heard in alone])
    count = len(alone[-1].times_ms)
    lines = [
        f"Measured on {os.cpu_count()} processors, {seconds:g} s for each attack" + (", before → after." if before else "."),
        f"An ordinary event costs so many µs of CPU: {events}.",
        f"The honest sender alone: p50 and p99 of {count} events are {quiet} ms.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|---|---|" + "--:|" * (len(HEADS) - 3) + "---|",
    ]
    for attack, cost in after.costs.items():
        both = zip(*(cells(run, attack) for run in runs if attack in run.costs))
        measured = [pair(list(cell)) for cell in both]
        row = [attack.name, attack.sender, number(cost.tally.sent / 1e6), *measured, statuses(cost.tally)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    found = above(after)
    lines += ["", "Above a bound:" if found else "Above a bound: nothing."]
    lines += ([""] + [f"- {line}" for line in found]) if found else []
    return "\n".join(lines)


def write(file: Path, text: str) -> None:
    """Puts `text` between the two marks in `file`."""
    whole = file.read_text()
    head, mark, rest = whole.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{file} has no place for the table: {BEGIN} and {END}")
    file.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
