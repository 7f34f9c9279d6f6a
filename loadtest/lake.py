"""What a month of events costs as a lake: files, bytes, query times, the compaction's CPU and memory, the price of a commit.

    .venv/bin/python loadtest/lake.py --lakegate target/release/lakegate --bench target/release/lakegate-bench --work target

It writes 30 days of 100 event types through the gateway's own sink, asks three usual questions of the files and of the table,
compacts, and asks again. Then it commits 10,000 flushes to another lake. Prints Markdown.
"""

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lakegate", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--commits", type=int, default=10_000)
    args = parser.parse_args()
    lake, many = args.work.absolute() / "month-lake", args.work.absolute() / "commits-lake"
    for folder in (lake, many):
        shutil.rmtree(folder, ignore_errors=True)
    seconds, cpu, memory, said = run([args.bench, "lake", str(lake), "--events", str(args.events)])
    print(f"Written in {seconds:.0f} s, {cpu / args.events * 1e6:.1f} CPU-s per million, {memory} MiB: {said.strip()}\n")
    day = sorted(path.name.split("=")[1] for path in lake.glob("event_type=type07/created_date=*"))[-2]
    before, before_files = ask(lake, day), files_of(lake)
    # The children's peak is the highest of all: the compaction runs in a process that measures it by itself.
    compact = [sys.executable, "-c", MEASURE, args.lakegate, "lake", "compact", "--all", "--lake", str(lake)]
    seconds, cpu, _, said = run(compact)
    peak = int(re.search(r"peak (\d+) MiB", said).group(1))
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
    flushes = [args.bench, "lake", str(many), "--events", str(args.commits), "--types", "1", "--days", "1"]
    *_, said = run([*flushes, "--flushes-per-day", str(args.commits)])
    print(f"{args.commits:,} commits: {said.strip()}")
    for folder in (lake, many):
        shutil.rmtree(folder)


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "MiB")
sys.exit(code)
"""

if __name__ == "__main__":
    main()
