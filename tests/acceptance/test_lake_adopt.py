"""Lakes of others become tables: one that a gateway wrote without a log, and one as Firehose writes it. All readers agree."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
import uuid
from pathlib import Path

import lake_readers
from lake_gateway import Gateway, binary, schema, write_schemas
from lake_readers import BY_VERSION, Log, Reading

DAY_SECONDS = 86_400
# Whole seconds, so that sums of `created_at` are exact whatever the order.
TODAY = int(time.time()) // DAY_SECONDS * DAY_SECONDS


def lake_command(root: Path, *arguments, code=0) -> dict:
    command = [binary(), "lake", *arguments, "--lake", root, "--data-dir", root.parent / "data", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def readings(root: Path) -> dict[str, Reading]:
    """What each reader of the log finds in the newest version, and one that does not know the log in the folders."""
    version = Log(root).newest()
    return {name: read(root, version) for name, read in BY_VERSION.items()} | {"glob": lake_readers.by_glob(root)}


def assert_all_read(root: Path, wanted: Reading) -> None:
    found = readings(root)
    assert set(found.values()) == {wanted}, found
    assert Log(root).rows(Log(root).newest()) == wanted.rows


def of(events: list[dict]) -> Reading:
    identities = {event["event_uuid"] for event in events}
    return Reading(len(events), len(identities), float(sum(event["created_at"] for event in events)))


def test_a_lake_without_a_log_and_with_a_late_folder_is_taken_over(tmp_path):
    root = tmp_path / "lake"
    schemas = write_schemas(tmp_path / "schemas", {(f"{name}:seen", 1): schema({}) for name in ("menu", "cart")})
    # Events of long ago are in the folder of the day of their receipt; of some days ago, of their own.
    ages = (0, 1, 500, 600)
    events = [
        {"event_uuid": str(uuid.uuid4()), "event_name": f"{name}:seen", "created_at": TODAY - ages[index % len(ages)] * DAY_SECONDS}
        for name in ("menu", "cart")
        for index in range(20)
    ]
    with Gateway(tmp_path, schemas, {"root": str(root), "table": "none"}) as gateway:
        assert gateway.post(events)["accepted"] == len(events)
        gateway.stop()
    assert not (root / "_delta_log").exists()
    # As gateways up to 2026-11 did it: the old events in a folder of that name, in a file of the same name.
    today = str(datetime.datetime.fromtimestamp(TODAY, datetime.UTC).date())
    [file] = (root / "event_type=menu" / f"created_date={today}").glob("*.parquet")
    late = root / "event_type=menu" / "created_date=late"
    late.mkdir()
    copied, moment = file.with_name("copied"), f"TIMESTAMP '{today}' - INTERVAL 400 DAY"
    with lake_readers.connect() as connection:
        rows = f"FROM read_parquet('{file}', hive_partitioning = false) WHERE created_datetime"
        connection.execute(f"COPY (SELECT * {rows} < {moment}) TO '{late / file.name}' (FORMAT parquet)")
        connection.execute(f"COPY (SELECT * {rows} >= {moment}) TO '{copied}' (FORMAT parquet)")
    copied.replace(file)
    wanted = of(events)
    assert lake_readers.by_glob(root) == wanted

    adopted = lake_command(root, "adopt")
    assert (adopted["rows"], adopted["left_out"]) == (len(events), 0), adopted
    found = readings(root)
    # The log has given the late events new files; the old ones wait for the vacuum.
    doubled = found.pop("glob")
    assert set(found.values()) == {wanted} and (doubled.rows, doubled.distinct) == (wanted.rows + 10, wanted.distinct), doubled
    assert all("created_date=late" not in path for path in Log(root).live(Log(root).newest()))
    assert lake_command(root, "vacuum", "--grace-minutes", "0")["removed_files"] == 1
    assert_all_read(root, wanted)
    # Again it finds nothing.
    assert lake_command(root, "adopt")["files"] == 0

    # The gateway goes on in the table.
    more = [{"event_uuid": str(uuid.uuid4()), "event_name": "menu:seen", "created_at": TODAY} for _ in range(5)]
    with Gateway(tmp_path, schemas, {"root": str(root)}) as gateway:
        assert gateway.post(more)["accepted"] == len(more)
        gateway.stop()
    assert_all_read(root, of(events + more))
    assert lake_command(root, "check", "--deep")["problems"] == 0


def midnight(day: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


# Firehose names its files so. The engine that converts its records decides on the unit of a timestamp.
FIREHOSE_FILES = {
    "lakegate-1-2026-11-20-10-00-04-0b1f2c7e-5a90-4c1e-8b7e-2d1c6f0a9b31.parquet": ("TIMESTAMP", ""),
    "lakegate-1-2026-11-20-10-15-09-7d2a1e55-0c3b-4d6f-9e21-5b8f7a60c442.parquet": ("TIMESTAMP_NS", ", '192.0.2.7' AS client_address"),
    "lakegate-1-2026-11-20-10-30-11-c9e8d7f6-1b2a-4c3d-8e9f-0a1b2c3d4e5f.parquet": (
        "TIMESTAMP_MS", ", NULL::VARCHAR AS dedup_scope, NULL::VARCHAR AS client_address",
    ),
}
FIREHOSE_LATER = "lakegate-1-2026-11-20-11-00-00-11111111-1b2a-4c3d-8e9f-0a1b2c3d4e5f.parquet"


def write_as_firehose(root: Path, event_type: str, day: str, file: str, rows: list[dict], unit="TIMESTAMP", more="") -> None:
    """A file with the columns of the Glue table and `more`, and timestamps of this unit."""
    folder = root / f"event_type={event_type}" / f"created_date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    source = root.parent / "rows.json"
    source.write_text("".join(json.dumps(row | {"payload": json.dumps(row)}) + "\n" for row in rows))
    columns = {"event_uuid": "VARCHAR", "event_name": "VARCHAR", "created_at": "BIGINT", "received_at": "BIGINT", "payload": "VARCHAR"}
    with lake_readers.connect() as connection:
        connection.execute(
            f"""COPY (SELECT event_uuid, event_name, 'seen' AS event_subtype, 'web' AS source, 1::INTEGER AS schema_version,
            created_at::DOUBLE AS created_at, make_timestamp(created_at * 1000000)::{unit} AS created_datetime,
            make_timestamp(received_at * 1000000)::{unit} AS received_datetime, payload {more}
            FROM read_json('{source}', columns = {columns})) TO '{folder / file}' (FORMAT parquet, COMPRESSION snappy)"""
        )


def event(event_name: str, created_at: int) -> dict:
    return {"event_uuid": str(uuid.uuid4()), "event_name": event_name, "created_at": created_at, "received_at": created_at + 2}


def test_a_lake_that_firehose_wrote_becomes_a_table_that_has_each_event_once(tmp_path):
    root, days = tmp_path / "lake", ("2026-11-20", "2026-11-21")
    once = []
    for day in days:
        rows = [event("menu:seen", midnight(day) + index) for index in range(60)]
        once += rows
        # Firehose delivers at least once: every file has some events of the one before.
        for index, (file, (unit, more)) in enumerate(FIREHOSE_FILES.items()):
            again = [row | {"received_at": row["received_at"] + 60} for row in rows[max(0, index * 20 - 5) : index * 20]]
            write_as_firehose(root, "menu", day, file, again + rows[index * 20 : index * 20 + 20], unit, more)
    doubles = len(days) * 10

    adopted = lake_command(root, "adopt")
    assert (adopted["files"], adopted["rows"], adopted["left_out"]) == (6, len(once) + doubles, 0), adopted
    found = readings(root)
    assert len(set(found.values())) == 1 and (found["glob"].rows, found["glob"].distinct) == (len(once) + doubles, len(once)), found

    partitions = lake_command(root, "compact", "--all")["partitions"]
    assert sum(partition["doubles_dropped"] for partition in partitions) == doubles, partitions
    lake_command(root, "vacuum", "--grace-minutes", "0")
    assert_all_read(root, of(once))
    # Of two deliveries the first stays, with its times, whatever their unit was.
    with lake_readers.connect() as connection:
        wrong = "received_datetime <> created_datetime + INTERVAL 2 SECOND OR epoch(created_datetime) <> created_at"
        assert connection.execute(f"SELECT count(*) FROM delta_scan('{root}') WHERE {wrong}").fetchone() == (0,)
    assert lake_command(root, "check", "--deep")["problems"] == 0

    # Firehose goes on, and the next adoption takes what it wrote.
    new = once[0] | {"event_uuid": str(uuid.uuid4())}
    write_as_firehose(root, "menu", days[0], FIREHOSE_LATER, [new, once[1]])
    assert lake_command(root, "adopt")["files"] == 1
    [partition] = lake_command(root, "compact", "--all")["partitions"]
    assert partition["doubles_dropped"] == 1, partition
    lake_command(root, "vacuum", "--grace-minutes", "0")
    assert_all_read(root, of([*once, new]))


def test_files_with_columns_that_the_lake_does_not_have_are_read_and_not_compacted(tmp_path):
    root, day = tmp_path / "lake", "2026-11-20"
    rows = [event("cart:seen", midnight(day) + index) for index in range(30)]
    [first, second, third] = FIREHOSE_FILES
    write_as_firehose(root, "cart", day, first, rows[:10], more=", 7::BIGINT AS shard")
    write_as_firehose(root, "cart", day, second, rows[10:20])
    write_as_firehose(root, "cart", day, third, rows[15:])
    assert lake_command(root, "adopt")["rows"] == 35
    # What a merge would drop is nobody's to drop.
    [partition] = lake_command(root, "compact", "--all", code=1)["partitions"]
    [left_alone] = partition["left_alone"]
    assert left_alone["file"].endswith(first) and "`shard`" in left_alone["reason"], partition
    assert partition["doubles_dropped"] == 5, partition
    lake_command(root, "vacuum", "--grace-minutes", "0")
    assert_all_read(root, of(rows))
    report = lake_command(root, "check", "--deep")
    assert report["problems"] == 0 and [finding["code"] for finding in report["findings"]] == ["extra_columns"], report
