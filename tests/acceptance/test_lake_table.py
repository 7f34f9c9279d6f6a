"""The lake as a table, read by engines that are not ours while the gateway writes it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

import lake_readers
from lake_gateway import Gateway, binary, schema, write_schemas
from lake_readers import BY_VERSION, Log

BATCHES = 30
BATCH_EVENTS = 40
TYPES = ("menu", "cart", "007")
# Whole seconds, so that sums of `created_at` are exact whatever the order.
DAY = int(time.time()) // 86_400 * 86_400


def events(batch: int) -> list[dict]:
    """The events of a batch: of all types, today's and yesterday's."""
    made = []
    for index in range(BATCH_EVENTS):
        number = batch * BATCH_EVENTS + index
        event_name = f"{TYPES[number % len(TYPES)]}:seen"
        made.append({"event_uuid": str(uuid.uuid4()), "event_name": event_name, "created_at": DAY - number % 2 * 86_400, "n": number})
    return made


def send(gateway: Gateway, batch: list[dict]) -> None:
    """Returns when the events are in the lake."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/v1/events",
        data=json.dumps(batch).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer dev", "Prefer": "durability=delivered"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["accepted"] == len(batch)


def start(folder) -> Gateway:
    """A gateway that writes its files soon, into `lake`."""
    schemas = write_schemas(folder / "schemas", {(f"{name}:seen", 1): schema({"n": {"type": "integer"}}) for name in TYPES})
    return Gateway(folder, schemas, {"root": str(folder / "lake"), "flush_age_ms": 50})


@pytest.fixture
def running(tmp_path):
    """A gateway, and the root of its lake."""
    with start(tmp_path) as gateway:
        yield gateway, tmp_path / "lake"
        gateway.stop()


def lake_command(*arguments) -> str:
    """What a command of `lakegate lake` prints; it must succeed."""
    done = subprocess.run([binary(), "lake", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


class Progress:
    """How many events were sent, and how many of them were said to be in the lake. A reader looks before and after it reads."""

    def __init__(self):
        self.sent = self.flushed = 0
        self.is_over = False


def read_versions(name: str, root, progress: Progress) -> list[tuple[int, lake_readers.Reading]]:
    """Reads the newest version again and again, and each time holds it against the log."""
    log, found = Log(root), []
    while True:
        is_last = progress.is_over
        flushed = progress.flushed
        version = log.newest()
        if version is not None and (not found or found[-1][0] != version):
            reading = BY_VERSION[name](root, version)
            rows = log.rows(version)
            assert reading.rows == rows, f"{name} reads {reading.rows} rows of version {version}, which has {rows}"
            assert reading.distinct == reading.rows, f"{name}: an event is twice in version {version}"
            assert flushed <= rows <= progress.sent, f"version {version} has {rows} rows, and {flushed} were acknowledged before"
            found.append((version, reading))
        if is_last:
            return found


def read_glob(root, progress: Progress) -> list[int]:
    """Reads all files, as an engine that does not know the log."""
    found = []
    while True:
        is_last = progress.is_over
        flushed = progress.flushed
        if flushed:
            reading = lake_readers.by_glob(root)
            assert flushed <= reading.distinct <= progress.sent
            found.append(reading.distinct)
        if is_last:
            return found


def test_every_reader_sees_whole_versions_while_the_gateway_writes(running):
    gateway, root = running
    progress = Progress()
    # Made once at the start, so that no reader looks for a table before there is one.
    progress.sent = BATCH_EVENTS
    send(gateway, events(0))
    progress.flushed = BATCH_EVENTS
    with ThreadPoolExecutor() as pool:
        versions = {name: pool.submit(read_versions, name, root, progress) for name in BY_VERSION}
        globbed = pool.submit(read_glob, root, progress)
        try:
            for batch in range(1, BATCHES):
                progress.sent += BATCH_EVENTS
                send(gateway, events(batch))
                progress.flushed += BATCH_EVENTS
        finally:
            progress.is_over = True
        found = {name: reader.result() for name, reader in versions.items()}
        counts = globbed.result()
    total = BATCHES * BATCH_EVENTS
    assert counts == sorted(counts) and counts[-1] == total
    by_version: dict[int, lake_readers.Reading] = {}
    for name, readings in found.items():
        assert len(readings) > 1, f"{name} read one version only"
        rows = [reading.rows for _, reading in readings]
        assert rows == sorted(rows) and rows[-1] == total, f"{name}: {rows}"
        for version, reading in readings:
            assert by_version.setdefault(version, reading) == reading, f"{name} reads another version {version}"
    # Old versions are still what they were.
    for version in range(0, Log(root).newest() + 1, 7):
        readings = {name: read(root, version) for name, read in BY_VERSION.items()}
        assert len(set(readings.values())) == 1, readings


def test_a_flush_is_one_version_with_the_files_of_all_its_partitions(running):
    gateway, root = running
    send(gateway, events(0))
    log = Log(root)
    [written] = [version for version in range(log.newest() + 1) if any("add" in action for action in log.actions(version))]
    assert len(log.live(written)) == 2 * len(TYPES)
    assert log.rows(written) == BATCH_EVENTS


def test_the_program_reads_old_versions_and_tells_of_each(running):
    gateway, root = running
    for batch in range(3):
        send(gateway, events(batch))
    history = json.loads(lake_command("history", "--lake", root, "--format", "json"))
    log = Log(root)
    assert [entry["version"] for entry in history] == list(range(log.newest() + 1))
    assert [entry["rows"] for entry in history] == [log.rows(entry["version"]) for entry in history]
    for entry in history:
        total = lake_command("count", "--lake", root, "--as-of", entry["version"]).splitlines()[-1].split()[-1]
        at_the_time = lake_command("count", "--lake", root, "--as-of", entry["time"]).splitlines()[-1].split()[-1]
        assert int(total) == int(at_the_time) == entry["rows"]
    sample = [json.loads(line) for line in lake_command("sample", "--lake", root, "--n", "7").splitlines()]
    assert len({event["event_uuid"] for event in sample}) == 7
    assert {event["event_type"] for event in sample} <= set(TYPES)


def test_a_check_beside_a_gateway_finds_nothing_and_a_lost_file_is_a_problem(running):
    gateway, root = running
    progress = Progress()

    def check() -> list[dict]:
        reports = []
        while not progress.is_over:
            reports.append(json.loads(lake_command("check", "--lake", root, "--deep", "--format", "json")))
        return reports

    with ThreadPoolExecutor() as pool:
        send(gateway, events(0))
        checks = pool.submit(check)
        try:
            for batch in range(1, 10):
                send(gateway, events(batch))
        finally:
            progress.is_over = True
        reports = checks.result()
    assert reports and all(report["problems"] == 0 for report in reports)
    # A flush may be between its files and its commit.
    assert {finding["code"] for report in reports for finding in report["findings"]} <= {"uncommitted_file"}
    metrics = lake_command("check", "--lake", root, "--format", "metrics")
    assert f"lakegate_lake_check_rows {10 * BATCH_EVENTS}\n" in metrics
    assert 'lakegate_lake_check_findings{code="missing_file",severity="problem"} 0\n' in metrics
    next(root.glob("event_type=menu/*/*.parquet")).unlink()
    done = subprocess.run([binary(), "lake", "check", "--lake", root], capture_output=True, text=True)
    assert done.returncode == 1 and "1 missing_file (problem)" in done.stdout, done.stdout + done.stderr
    metrics = subprocess.run([binary(), "lake", "check", "--lake", root, "--format", "metrics"], capture_output=True, text=True).stdout
    assert 'lakegate_lake_check_findings{code="missing_file",severity="problem"} 1\n' in metrics


def test_a_backup_beside_a_gateway_is_a_version_and_the_gateway_goes_on_with_it(tmp_path):
    root, copy = tmp_path / "lake", tmp_path / "copy"
    progress = Progress()

    def back_up() -> list[int]:
        """Backs up again and again; each copy is what the log says of its version, to engines too."""
        log, versions = Log(root), []
        while True:
            is_last = progress.is_over
            version = json.loads(lake_command("backup", "--lake", root, "--to", copy, "--format", "json"))["version"]
            readings = {name: read(copy, version) for name, read in BY_VERSION.items()}
            assert {reading.rows for reading in readings.values()} == {log.rows(version)}, readings
            assert all(reading.distinct == reading.rows for reading in readings.values()), readings
            assert json.loads(lake_command("check", "--lake", copy, "--deep", "--format", "json"))["findings"] == []
            versions.append(version)
            if is_last:
                return versions

    with start(tmp_path) as gateway, ThreadPoolExecutor() as pool:
        send(gateway, events(0))
        backups = pool.submit(back_up)
        try:
            for batch in range(1, 12):
                send(gateway, events(batch))
        finally:
            progress.is_over = True
        versions = backups.result()
        assert versions == sorted(versions) and len(set(versions)) > 1
        # These come after the last backup.
        send(gateway, events(12))
        gateway.stop()
    shutil.rmtree(root)
    shutil.copytree(copy, root)
    with start(tmp_path) as gateway:
        send(gateway, events(13))
        gateway.stop()
    reading = lake_readers.by_delta_scan(root, Log(root).newest())
    assert reading.rows == reading.distinct == 13 * BATCH_EVENTS
    assert json.loads(lake_command("check", "--lake", root, "--deep", "--format", "json"))["findings"] == []
