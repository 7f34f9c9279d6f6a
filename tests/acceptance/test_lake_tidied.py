"""The lake read by engines that are not ours, while the gateway writes it and the commands of its upkeep change it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lake_readers
from lake_gateway import Gateway, binary, schema, write_schemas
from lake_readers import BY_VERSION, Log

DAY_SECONDS = 86_400
# Whole seconds, so that sums of `created_at` are exact whatever the order.
TODAY = int(time.time()) // DAY_SECONDS * DAY_SECONDS
# `kept` stays; of `cart` the guests are erased; `old` is three days old, and may stay for one.
TYPES = ("kept", "cart", "old")
BATCH_OF_A_TYPE = 8
BATCHES_BEFORE = 4
BATCHES = 12
RETENTION = '[lake.retention]\nevents = { "old:*" = 1 }\n[lake.upkeep]\nenabled = false\n'


def events(batch: int) -> list[dict]:
    """The events of a batch; half of the events of `cart` are of a guest who has no others."""
    made = []
    for index in range(BATCH_OF_A_TYPE):
        for event_type in TYPES:
            created_at = TODAY - (3 if event_type == "old" else index % 2) * DAY_SECONDS
            event = {"event_uuid": str(uuid.uuid4()), "event_name": f"{event_type}:seen", "created_at": created_at}
            made.append(event | ({"guest": guest(batch)} if event_type == "cart" and index % 2 else {}))
    return made


def guest(batch: int) -> str:
    return f"guest {batch}"


def send(gateway: Gateway, batch: list[dict]) -> None:
    """Returns when the events are in the lake."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/v1/events",
        data=json.dumps(batch).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer dev", "Prefer": "durability=delivered"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["accepted"] == len(batch)


def start(folder: Path) -> Gateway:
    """A gateway that writes its files soon, into `lake`, and leaves the upkeep to the commands."""
    properties = {"guest": {"type": "string"}}
    schemas = write_schemas(folder / "schemas", {(f"{name}:seen", 1): schema(properties) for name in TYPES})
    return Gateway(folder, schemas, {"root": str(folder / "lake"), "flush_age_ms": 50}, more=RETENTION)


class Run:
    """What was sent, what the commands reported, and what went wrong. A reader looks before and after it reads."""

    def __init__(self, folder: Path):
        self.folder, self.root = folder, folder / "lake"
        self.sent = self.in_the_lake = 0
        self.erased_guests: list[str] = []
        self.uncommitted: set[str] = set()
        self.reports: Counter[str] = Counter()
        self.is_over = threading.Event()

    def command(self, *arguments, codes=(0,)) -> dict:
        """What a command of `lakegate lake` reports."""
        command = [binary(), "lake", *arguments, "--config", self.folder / "lakegate.toml", "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode in codes, f"{arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def send(self, gateway: Gateway, batch: int) -> None:
        made = events(batch)
        self.sent += len(made)
        send(gateway, made)
        self.in_the_lake += len(made)

    def compact(self) -> None:
        for partition in self.command("compact", "--all")["partitions"]:
            self.reports["compacted"] += 1
            assert partition["doubles_dropped"] == 0 and partition["left_alone"] == [], partition

    def expire(self) -> None:
        for partition in self.command("expire")["partitions"]:
            self.reports["expired"] += partition["rows"]
            assert partition["event_type"] == "old", partition

    def erase(self, whose: str) -> None:
        report = self.command("erase", "--where", f"guest={whose}")
        [lake] = report["lakes"]
        assert lake["erased"] == BATCH_OF_A_TYPE // 2, report
        self.reports["erased"] += lake["erased"]
        self.erased_guests.append(whose)

    def vacuum(self) -> None:
        # Only what left the table long before.
        report = self.command("vacuum", "--grace-minutes", "30", codes=(0, 1))
        self.reports["vacuumed"] += report["removed_files"]
        # Files that are written and not committed yet.
        self.uncommitted.update(report["unknown"])


def repeat(run: Run, work) -> None:
    while not run.is_over.is_set():
        work()


def read_versions(name: str, run: Run) -> dict[int, lake_readers.Reading]:
    """Reads the newest version again and again, and each time holds it against the log."""
    log, found = Log(run.root), {}
    while True:
        is_last = run.is_over.is_set()
        before = run.in_the_lake
        version = log.newest()
        if version not in found:
            live = log.live(version)
            try:
                reading = BY_VERSION[name](run.root, version)
            except Exception as error:  # noqa: BLE001 each engine has its own
                # An erasure removes the files of its guests at once, and no others.
                gone = [path for path in live if not (run.root / path).exists()]
                assert gone and all(path.startswith("event_type=cart/") for path in gone), f"{name}, version {version}: {error}"
            else:
                rows = log.rows(version)
                assert reading.rows == rows, f"{name} reads {reading.rows} rows of version {version}, which has {rows}"
                assert reading.distinct == reading.rows, f"{name}: an event is twice in version {version}"
                kept = sum(rows_of(add) for path, add in live.items() if path.startswith("event_type=kept/"))
                assert before // len(TYPES) <= kept <= run.sent // len(TYPES), f"version {version} has {kept} events that stay"
                found[version] = reading
        if is_last:
            return found


def rows_of(add: dict) -> int:
    return json.loads(add["stats"])["numRecords"]


def read_glob(run: Run) -> int:
    """Reads all files of `kept` and `cart`, as an engine that does not know the log. Returns how often."""
    files, times = f"{run.root}/event_type={{}}/created_date=*/[!_.]*.parquet", 0
    while True:
        is_last = run.is_over.is_set()
        before, erased = run.in_the_lake // len(TYPES), list(run.erased_guests)
        with lake_readers.connect() as connection:
            asked = f"SELECT count(DISTINCT event_uuid) FROM read_parquet('{files.format('kept')}')"
            try:
                [kept] = connection.execute(asked).fetchone()
            except lake_readers.duckdb.IOException:
                # The vacuum removed a file that was listed and not yet read.
                kept = None
            asked = f"SELECT count(*) FROM read_parquet('{files.format('cart')}') WHERE payload->>'$.guest' IN (SELECT unnest(?))"
            try:
                [left] = connection.execute(asked, [erased]).fetchone()
            except lake_readers.duckdb.IOException:
                # So did an erasure.
                left = None
        assert kept is None or before <= kept <= run.sent // len(TYPES)
        assert left in (None, 0), f"{left} rows of guests whose erasure had ended"
        times += kept is not None and left is not None
        if is_last:
            return times


def removed_long_ago(root: Path) -> int:
    """Makes the log say that what left the table left it an hour ago. Returns how many files did."""
    files = 0
    for commit in sorted((root / "_delta_log").glob("*.json")):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        for action in actions:
            if remove := action.get("remove"):
                remove["deletionTimestamp"] -= 3_600_000
                files += 1
        commit.write_text("".join(json.dumps(action) + "\n" for action in actions))
    return files


def test_every_reader_sees_whole_versions_while_the_lake_is_tidied(tmp_path):
    run = Run(tmp_path)
    with start(tmp_path) as gateway:
        for batch in range(BATCHES_BEFORE):
            run.send(gateway, batch)
        gateway.stop()
    run.compact()
    due = removed_long_ago(run.root)
    assert due > 0
    tidied_from = Log(run.root).newest() + 1
    with start(tmp_path) as gateway, ThreadPoolExecutor(16) as pool:
        readers = {name: pool.submit(read_versions, name, run) for name in BY_VERSION}
        globbed = pool.submit(read_glob, run)
        tidying = [pool.submit(repeat, run, work) for work in (run.compact, run.expire, run.vacuum)]
        try:
            for batch in range(BATCHES_BEFORE, BATCHES_BEFORE + BATCHES):
                run.send(gateway, batch)
                if batch % 4 == 0:
                    run.erase(guest(batch))
        finally:
            run.is_over.set()
        for work in tidying:
            work.result()
        found = {name: reader.result() for name, reader in readers.items()}
        assert globbed.result() > 1
        gateway.stop()
    assert run.reports["vacuumed"] == due and run.reports["compacted"] > 1, run.reports

    # Rows come by a flush, and go by an expiry or an erasure: as many as the commands said.
    log, changes = Log(run.root), Counter()
    for version in range(tidied_from, log.newest() + 1):
        [info] = [action["commitInfo"] for action in log.actions(version) if "commitInfo" in action]
        changes[info["operation"]] += log.rows(version) - log.rows(version - 1)
    gone = run.reports["expired"] + run.reports["erased"]
    # Each commit says how many rows of which minute left, and why; the minutes that are there say the rest.
    said = Counter()
    for version in range(log.newest() + 1):
        [info] = [action["commitInfo"] for action in log.actions(version) if "commitInfo" in action]
        for removed in info.get("lakegate.removedRows", []):
            assert removed["rows"] == sum(sum(counts[1:]) for counts in removed["minutes"]) > 0, info
            said[removed["why"]] += removed["rows"]
    assert said == {"expired": run.reports["expired"], "erased": run.reports["erased"]}, (said, run.reports)
    counted = run.command("count", "--by-minute")
    assert counted["events"] == sum(minute["events"] for minute in counted["minutes"]) == run.sent - gone, counted
    assert counted["left_out"] == [] and counted["version"] == log.newest(), counted
    assert changes["WRITE"] + log.rows(tidied_from - 1) == run.sent
    assert changes["DELETE"] == -gone and changes["OPTIMIZE"] == 0, (changes, run.reports)
    assert set(changes) == {"WRITE", "DELETE", "OPTIMIZE"} and run.reports["expired"] > 0

    by_version: dict[int, lake_readers.Reading] = {}
    for name, readings in found.items():
        assert len(readings) > 1, f"{name} read one version only"
        for version, reading in readings.items():
            assert by_version.setdefault(version, reading) == reading, f"{name} reads another version {version}"
    last = {name: read(run.root, log.newest()) for name, read in BY_VERSION.items()}
    assert len(set(last.values())) == 1 and last["polars"].rows == run.sent - gone, last
    # The vacuum told of flushes that were not committed yet, and left them alone.
    ever = {action["add"]["path"] for version in range(log.newest() + 1) for action in log.actions(version) if "add" in action}
    assert run.uncommitted <= ever
    run.command("check", "--deep")
