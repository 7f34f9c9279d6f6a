"""A second of `make amplification`: it sends, measures all that its table shows, and tells a costly request from an ordinary one."""

import math
import sys

import pytest
from gateway import ROOT, binary

sys.path.insert(0, str(ROOT / "loadtest"))

from amplification import command, table  # noqa: E402
from amplification.attacks import CATALOGUE  # noqa: E402

SECONDS = 0.3
LETTERS, KEYLESS, FRAMES = "8 lines of new numbers, brotli", "an unknown path", "HTTP/2, 33 bytes a request: an event `1`"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    attacks = [next(attack for attack in CATALOGUE if attack.name == name) for name in (LETTERS, KEYLESS, FRAMES)]
    run = command.measure(binary(), attacks, SECONDS, tmp_path_factory.mktemp("amplification"), say=lambda line: None)
    return run, {attack.name: attack for attack in attacks}


def test_each_attack_is_sent_answered_and_paid_for_by_the_gateways_processor(measured):
    run, attacks = measured
    for name, statuses in ((LETTERS, {422, 429}), (KEYLESS, {404, 429}), (FRAMES, {422, 429})):
        cost = run.costs[attacks[name]]
        assert cost.is_whole and cost.tally.sent > 1_000 and cost.tally.answered > 1_000, (name, cost)
        assert set(cost.tally.statuses) <= statuses and cost.tally.statuses[min(statuses)] > 0, (name, cost)
        ratio = run.cpu_ratio(attacks[name])
        assert math.isfinite(ratio) and ratio > 0, (name, ratio)
        # An ordinary event is on the disk once, and so small a request as a dead letter takes several times its own bytes.
        assert (cost.letters > 0) == (name != KEYLESS), (name, cost)
        # The same event again makes no second dead letter.
        assert (cost.disk_per_byte > 1) == (name == LETTERS), (name, cost)


def test_the_honest_sender_and_the_ordinary_events_were_taken(measured):
    run, _ = measured
    for cost in run.baselines.values():
        assert set(cost.tally.statuses) == {202} and cost.tally.statuses[202] > 10 and 0.5 < cost.disk_per_byte < 3, cost
    for cost in run.costs.values():
        # Nobody sends the identities of somebody else.
        assert set(cost.heard.statuses) == {202} and cost.heard.refused == 0, cost
        assert cost.heard.times_ms and cost.heard.statuses[202] > 0 and cost.heard.health_ms > 0, cost
        assert cost.heard.percentile(50) <= cost.heard.percentile(99) == max(cost.heard.times_ms)


def test_the_table_stands_between_its_marks_and_names_what_is_above_a_bound(measured, tmp_path):
    run, attacks = measured
    file = tmp_path / "SECURITY.md"
    file.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    text = table.markdown(run, run, SECONDS)
    table.write(file, text)
    table.write(file, text)
    written = file.read_text()
    assert written == f"before\n{table.BEGIN}\n{text}\n{table.END}\nafter\n"
    for name, attack in attacks.items():
        row = next(line for line in written.splitlines() if line.startswith(f"| {name} | {attack.sender} |"))
        assert row.count("|") == len(table.HEADS) + 1 and " → " in row, row
    run.costs[attacks[KEYLESS]].cpu_seconds *= 1_000_000
    assert [line for line in table.above(run) if KEYLESS in line and line.startswith("CPU")]


def test_security_md_has_a_place_for_the_table():
    text = (ROOT / "SECURITY.md").read_text()
    assert text.count(table.BEGIN) == text.count(table.END) == 1 and text.index(table.BEGIN) < text.index(table.END)
