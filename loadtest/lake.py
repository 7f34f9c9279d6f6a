"""What a month of events costs as a lake: files, bytes, query times, the compaction's CPU and memory, the price of a commit.

    .venv/bin/python loadtest/lake.py --lakegate target/release/lakegate --bench target/release/lakegate-bench --work target

It writes 30 days of 100 event types through the gateway's own sink, asks three usual questions of the files and of the table,
compacts, and asks again. It builds the typed tables, and asks them three questions, and the JSON of the raw table the same three.
Then it commits 10,000 flushes to another lake. Prints Markdown.
"""

import argparse
import json
import pathlib
import re
import resource
import shutil
import site
import subprocess
import sys
import time

import duckdb

QUESTIONS = {
    "events of a day, by type": "SELECT event_type, count(*) FROM {source} WHERE created_date = DATE '{day}' GROUP BY 1",
    "one type, a week, by dish": "SELECT json_extract_string(payload, '$.dish') AS dish, count(*) FROM {source} "
    "WHERE event_type = 'type07' AND created_date BETWEEN DATE '{day}' - 6 AND DATE '{day}' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
    "sessions of the month": "SELECT count(DISTINCT json_extract_string(payload, '$.session_id')) FROM {source} "
    "WHERE event_type IN ('type01', 'type02')",
}


# Fields of the bench's events.
TEXTS, NUMBERS = ("session_id", "dish", "language", "page", "note"), ("price_minor", "position", "dwell_ms")
# A question: the same SQL for the typed table of a type, and for its raw rows with the fields taken out of the JSON.
TYPED_QUESTIONS = {
    "median time per dish, a month": "SELECT dish, median(dwell_ms), count(*) FROM {source} GROUP BY 1",
    "sessions that saw more than five dishes, a week": "SELECT count(*) FROM (SELECT session_id FROM {source} "
    "WHERE created_date BETWEEN DATE '{day}' - 6 AND DATE '{day}' GROUP BY 1 HAVING count(DISTINCT dish) > 5)",
    "dearest dishes at the top of the page": "SELECT dish, max(price_minor) FROM {source} WHERE position < 3 GROUP BY 1 "
    "ORDER BY 2 DESC, 1 LIMIT 10",
}
USED = [("dish", "dwell_ms"), ("session_id", "dish"), ("dish", "price_minor", "position")]


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for folder in site.getsitepackages():
        for extension in pathlib.Path(folder).glob("duckdb_extension_delta/extensions/*/delta.duckdb_extension"):
            connection.execute(f"LOAD '{extension}'")
            return connection
    sys.exit("the package duckdb-extension-delta is missing")


def ask(lake: pathlib.Path, day: str) -> dict[str, dict[str, tuple[float, list]]]:
    """Seconds and answers of each question, from the files and from the table; the better of two."""
    sources = {
        "files": f"read_parquet('{lake}/event_type=*/created_date=*/*.parquet', hive_partitioning = true)",
        "table": f"delta_scan('file://{lake}')",
    }
    answers: dict[str, dict[str, tuple[float, list]]] = {}
    for question, sql in QUESTIONS.items():
        for name, source in sources.items():
            took = []
            for _ in range(2):
                connection = connect()
                started = time.perf_counter()
                rows = sorted(connection.execute(sql.format(source=source, day=day)).fetchall())
                took.append(time.perf_counter() - started)
            answers.setdefault(question, {})[name] = (min(took), rows)
    return answers


def files_of(lake: pathlib.Path) -> tuple[int, int]:
    files = [path.stat().st_size for path in lake.glob("event_type=*/created_date=*/*.parquet")]
    return len(files), sum(files)


def run(command: list[str]) -> tuple[float, float, int, str]:
    """Seconds, CPU seconds, most memory in MiB, and what it said."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}{done.stdout}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu, after.ru_maxrss // 1024, done.stderr + done.stdout


def write_schemas(folder: pathlib.Path, types: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    envelope = {"event_uuid": {"type": "string"}, "event_name": {"type": "string"}, "created_at": {"type": "number"}}
    fields = {name: {"type": "string"} for name in TEXTS} | {name: {"type": "integer"} for name in NUMBERS}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "An event of the bench", "type": "object"}
    text = json.dumps(schema | {"description": "An event of the bench.", "required": list(envelope), "properties": envelope | fields})
    for kind in range(types):
        path = folder / f"type{kind:02}" / "item" / "seen" / "1.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)


def ask_typed(lake: pathlib.Path, typed: pathlib.Path, day: str) -> None:
    """Prints times, and bytes of the columns that are read, from JSON and from the typed table of one type."""
    taken = [f"json_extract_string(payload, '$.{name}') AS {name}" for name in TEXTS]
    taken += [f"CAST(json_extract(payload, '$.{name}') AS bigint) AS {name}" for name in NUMBERS]
    raw = f"(SELECT created_date, {', '.join(taken)} FROM delta_scan('file://{lake}') WHERE event_type = 'type07')"
    table = typed / "type07_item_seen"
    sources = {"JSON": (raw, lake / "event_type=type07"), "typed": (f"delta_scan('file://{table}')", table / "event_type=type07")}
    print("| one type | from JSON | MB | typed | MB |\n|---|---|---|---|---|")
    for (question, sql), used in zip(TYPED_QUESTIONS.items(), USED):
        cells, answers = [], []
        for name, (source, files) in sources.items():
            took = []
            for _ in range(3):
                connection = connect()
                started = time.perf_counter()
                rows = sorted(connection.execute(sql.format(source=source, day=day)).fetchall())
                took.append(time.perf_counter() - started)
            columns = ["payload"] if name == "JSON" else list(used)
            days = "regexp_extract(file_name, 'created_date=([0-9-]+)', 1)"
            within = f"{days}::DATE BETWEEN DATE '{day}' - 6 AND DATE '{day}'" if "{day}" in sql else "true"
            read = f"SELECT sum(total_compressed_size) FROM parquet_metadata('{files}/*/*.parquet') WHERE path_in_schema IN ? AND {within}"
            size = connection.execute(read, [columns]).fetchone()[0]
            cells += [f"{min(took):.2f} s", f"{size / 1e6:.1f}"]
            answers.append(rows)
        assert answers[0] == answers[1], f"{question} has another answer from JSON"
        print(f"| {question} | {' | '.join(cells)} |")


def measured(command: list[str]) -> tuple[float, float, int]:
    """Seconds, CPU seconds and MiB of a command. The children's peak is the highest of all, so a process of its own measures it."""
    seconds, cpu, _, said = run([sys.executable, "-c", MEASURE, *command])
    return seconds, cpu, int(re.search(r"peak (\d+) MiB", said).group(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lakegate", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--flushes-per-day", type=int, default=48)
    parser.add_argument("--commits", type=int, default=10_000)
    args = parser.parse_args()
    lake, many = args.work.absolute() / "month-lake", args.work.absolute() / "commits-lake"
    typed, schemas = args.work.absolute() / "month-lake-typed", args.work.absolute() / "month-schemas"
    for folder in (lake, many, typed, schemas):
        shutil.rmtree(folder, ignore_errors=True)
    seconds, cpu, memory, said = run([args.bench, "lake", str(lake), "--events", str(args.events), "--flushes-per-day", str(args.flushes_per_day)])
    print(f"Written in {seconds:.0f} s, {cpu / args.events * 1e6:.1f} CPU-s per million, {memory} MiB: {said.strip()}\n")
    day = sorted(path.name.split("=")[1] for path in lake.glob("event_type=type07/created_date=*"))[-2]
    before, before_files = ask(lake, day), files_of(lake)
    seconds, cpu, peak = measured([args.lakegate, "lake", "compact", "--all", "--lake", str(lake)])
    run([args.lakegate, "lake", "vacuum", "--lake", str(lake), "--grace-minutes", "0"])
    after, after_files = ask(lake, day), files_of(lake)
    for question, answers in before.items():
        for name, (_, rows) in answers.items():
            assert rows == after[question][name][1], f"{question} by {name} has another answer after the compaction"
    print("| | before | after |\n|---|---|---|")
    print(f"| files | {before_files[0]:,} | {after_files[0]:,} |")
    print(f"| MB | {before_files[1] / 1e6:.0f} | {after_files[1] / 1e6:.0f} |")
    for question in QUESTIONS:
        for name in ("files", "table"):
            print(f"| {question}, by {name} | {before[question][name][0]:.2f} s | {after[question][name][0]:.2f} s |")
    print(f"\nCompaction: {seconds:.0f} s, {cpu / args.events * 1e6:.2f} CPU-s per million events, {peak} MiB.\n")
    write_schemas(schemas, 100)
    built = measured([args.lakegate, "lake", "build", "--lake", str(lake), "--schemas", str(schemas)])
    size = sum(path.stat().st_size for path in typed.glob("*/event_type=*/*/*.parquet"))
    print(f"Typed tables: {built[0]:.0f} s, {built[1] / args.events * 1e6:.2f} CPU-s per million events, {built[2]} MiB; {size / 1e6:.0f} MB.\n")
    ask_typed(lake, typed, day)
    print()
    flushes = [args.bench, "lake", str(many), "--events", str(args.commits), "--types", "1", "--days", "1"]
    *_, said = run([*flushes, "--flushes-per-day", str(args.commits)])
    print(f"{args.commits:,} commits: {said.strip()}")
    for folder in (lake, many, typed, schemas):
        shutil.rmtree(folder)


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "MiB")
sys.exit(code)
"""

if __name__ == "__main__":
    main()
