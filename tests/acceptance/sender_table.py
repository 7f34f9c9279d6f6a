"""What senders make of answers, measured: the table in docs/backend.md. `make senders` writes it; test_sender_table.py compares.

Each sender posts three events (two where all are bad) to scripted_gateway.py, which gives the answer of the column and from then on
answers by the rules. Then the books say what became of the events, and the exit code what the sender told its application.
"""

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from events import new_uuid, text
from gateway import ROOT
from scripted_gateway import Play, ScriptedGateway, honest, not_stored, refuse, reset
from sender_programs import LANGUAGES, Language, Sent, build, build_example, send

PAGE = ROOT / "docs/backend.md"
BEGIN, END = "<!-- senders × answers: written by `make senders` -->\n", "<!-- end -->\n"
PROGRAMS = Path(__file__).parent / "senders"
# Longer than the first pause of every sender below, so that it comes too early if it does not read the header.
RETRY_AFTER_SECONDS = 2
# For all its tries. The most patient sender needs about twenty, on a machine that does nothing else.
SENDER_SECONDS_MAX = 180
# Exit codes: success, the error of a program here, and those of curl for a bad status, no answer and a reset. Others are faults of the test.
SAID = {0, 1, 22, 52, 56}
# Senders wait most of their time.
AT_ONE_TIME = 16


@dataclass
class Column:
    title: str
    # `g` is a good event and `b` a bad one.
    events: str
    script: list[Play]
    answers: str = "each"
    all_good: int = 202


PART = not_stored(2, retry_after=RETRY_AFTER_SECONDS)
COLUMNS = [
    Column("200", "ggg", [], all_good=200),
    Column("202", "ggg", []),
    Column("207, a rejected one", "gbg", []),
    Column("207, one to retry", "gbg", [PART]),
    Column("422", "bb", []),
    Column("429", "ggg", [refuse(429, "rate_limited", RETRY_AFTER_SECONDS)]),
    Column("503", "ggg", [refuse(503, "storage_unavailable", RETRY_AFTER_SECONDS)]),
    Column("reset", "ggg", [reset(stored=True, cut_after=0)]),
    Column("whole: a rejected one (200)", "gbg", [], "whole", 200),
    Column("whole: one to retry (503)", "gbg", [PART], "whole", 200),
]


@dataclass
class Sender:
    name: str
    # Makes it ready in an empty folder; gives the command that sends standard input, with {url} for the address.
    prepare: Callable[[Path], list[str]]
    # What it needs.
    language: Language
    # Whether it is in this repository.
    exists: bool = True

    @property
    def missing(self) -> str | None:
        return self.language.missing


def program(name: str, file: str, *tools: tuple[str, str], exists=True) -> Sender:
    return Sender(name, lambda folder: build(PROGRAMS / file, folder), Language(name, file, dict(tools)), exists)


def curl(name: str, *options: str) -> Sender:
    command = ["curl", "-sS", "--fail-with-body", *options, "-H", "Content-Type: application/x-ndjson", "-H", "X-Api-Key: dev",
               "--data-binary", "@-", "{url}"]
    return Sender(name, lambda folder: command, Language(name, "", {"curl": "curl"}))


def example(language: Language) -> Sender:
    return Sender(f"example in {language.name}", lambda folder: build_example(language, folder / "program"), language)


SENDERS = [
    curl("curl `--retry 3`", "--retry", "3"),
    curl("curl `--retry 3 --retry-all-errors`", "--retry", "3", "--retry-all-errors"),
    program("Python requests", "plain_requests.py"),
    program("Python urllib3 `Retry`", "urllib3_retry.py"),
    program("Go net/http", "plain.go", ("go", "golang-go")),
    program("Java HttpClient", "Plain.java", ("javac", "default-jdk-headless")),
    program("Ruby Net::HTTP", "plain.rb", ("ruby", "ruby")),
    program("PHP curl", "curl.php", ("php", "php-cli and php-curl")),
    program("PHP `file_get_contents`", "stream.php", ("php", "php-cli and php-curl")),
    program("Node fetch", "fetch.mjs"),
    program("Segment's Python library 2.4", "segment_python.py"),
    program("PostHog's Python library 7.91", "posthog_python.py"),
    program("**our library for Node**", "library.mjs"),
    # In this table from the moment on that it is in the repository.
    program("**our library for Python**", "library_python.py", exists=(ROOT / "clients/python/src/lakegate").exists()),
    *map(example, LANGUAGES),
]
# The examples do the same in every language: they have one row.
EXAMPLES = "**the examples below**"


def measure(command: list[str], column: Column) -> str:
    """A cell of the table."""
    events = [{"event_uuid": new_uuid(), "event_name": "lesson:started", "created_at": 1795014003} | ({"bad": True} if kind == "b" else {})
              for kind in column.events]
    gateway = ScriptedGateway(list(column.script), honest, column.answers, column.all_good)
    with gateway.running() as url:
        command = [part.replace("{url}", f"{url}/v1/events") for part in command]
        sent = send(command, f"{url}/v1/events", "".join(text(event) + "\n" for event in events), SENDER_SECONDS_MAX)
    return verdict(gateway, sent, column)


def verdict(gateway: ScriptedGateway, sent: Sent, column: Column) -> str:
    assert sent.code in SAID, sent
    assert gateway.requests and len(gateway.requests[0].events) == len(column.events), f"not one batch: {sent}"
    assert max(gateway.accepted.values(), default=1) == 1, "the books of the gateway itself are wrong"
    uuids = {event.uuid for event in gateway.requests[0].events}
    unsettled = uuids - set(gateway.accepted) - set(gateway.rejected)
    said = []
    pairs = list(zip(gateway.requests, gateway.requests[1:]))
    if pairs:
        is_early = any(later.arrived - earlier.answered < earlier.retry_after for earlier, later in pairs)
        said.append("again, too early" if is_early else "again")
    if sent.code:
        said.append("error")
    elif unsettled:
        said.append(f"**{len(unsettled)} lost**")
    elif not pairs:
        said.append("done")
    # The events that the gateway rejected, as far as it says so event by event.
    if "b" in column.events and sent.stderr.count("rejected: schema_violation /student_id") == column.events.count("b"):
        said.append("tells")
    return ", ".join(said)


def table() -> tuple[dict[str, list[str]], dict[str, str]]:
    """The rows by their names, and what could not be measured, with its reason."""
    there = [sender for sender in SENDERS if sender.exists]
    missing = {sender.name: sender.missing for sender in there if sender.missing}
    senders = [sender for sender in there if not sender.missing]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONE_TIME) as pool:
        folders = [Path(scratch, str(number)) for number in range(len(senders))]
        for folder in folders:
            folder.mkdir()
        commands = list(pool.map(lambda sender, folder: sender.prepare(folder), senders, folders))
        cells = [(sender.name, pool.submit(measure, command, column)) for sender, command in zip(senders, commands) for column in COLUMNS]
        rows = {}
        for name, cell in cells:
            rows.setdefault(name, []).append(cell.result())
    examples = {name: rows.pop(name) for name in list(rows) if name.startswith("example in ")}
    for name, row in examples.items():
        assert row == next(iter(examples.values())), f"the examples differ: {examples}"
        rows[EXAMPLES] = row
    return rows, missing


def markdown(rows: dict[str, list[str]]) -> str:
    lines = [["sender", *(column.title for column in COLUMNS)], ["---"] * (len(COLUMNS) + 1), *([name, *row] for name, row in rows.items())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown() -> dict[str, list[str]]:
    """The rows of the page."""
    lines = PAGE.read_text().split(BEGIN)[1].split(END)[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert rows[0][1:] == [column.title for column in COLUMNS]
    return {row[0]: row[1:] for row in rows[2:]}


def write():
    rows, missing = table()
    if missing:
        sys.exit(f"not all can be measured here: {missing}")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(rows)}\n{END}{rest.split(END)[1]}")
    print(markdown(rows))


if __name__ == "__main__":
    write()
