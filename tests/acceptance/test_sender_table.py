"""docs/backend.md says of every sender what it does; `make senders` writes it."""

import pytest
import required
import sender_table


@pytest.fixture(scope="module")
def measured():
    return sender_table.table()


def test_every_sender_does_what_the_page_says(measured):
    rows, missing = measured
    shown = sender_table.shown()
    for name, cells in rows.items():
        assert shown.get(name) == cells, f"{name}: `make senders` writes the table again"
    unknown = set(shown) - set(rows) - set(missing)
    assert not unknown, f"no sender has the name: {unknown}"
    if missing:
        required.cannot_run(f"all others do what the page says, but these are not measured: {missing}")


def test_nothing_of_ours_loses_an_event(measured):
    rows, _ = measured
    ours = {name: cells for name, cells in rows.items() if name.startswith("**")}
    assert sender_table.EXAMPLES in ours
    for name, cells in ours.items():
        assert not any("lost" in cell or "error" in cell or "early" in cell for cell in cells), f"{name}: {cells}"


def test_whole_answers_lose_no_event_of_any_sender(measured):
    rows, _ = measured
    whole = [index for index, column in enumerate(sender_table.COLUMNS) if column.answers == "whole"]
    assert len(whole) == 2
    for name, cells in rows.items():
        assert not any("lost" in cells[index] for index in whole), f"{name}: {cells}"
