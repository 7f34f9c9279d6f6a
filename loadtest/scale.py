#!/usr/bin/env python3
"""What an event costs as one thing grows: types, connections, bytes of an event. `make scale` writes it into RESULTS-scale.md.

Each point is a run of `lakegate-bench run`: the gateway beside `bare` and `parse` in the same rounds, so that the ratios of two points
can be compared where the seconds cannot.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = {"server": 2, "events/s": 3, "cpu": 4, "bare": 5, "parse": 7, "latency": 8, "memory": 10}
CURVES = [
    ("Types in the registry", "--types", (1, 10, 100, 1000), (1, 100)),
    ("Connections", "--connections", (10, 1000, 10_000), (1,)),
    ("Bytes of an event", "--event-bytes", (300, 1000, 4000, 16_000, 64_000), (1, 100)),
]
# A request has at most a megabyte in the bench: bodies of 100 large events would measure the limit.
BODY_BYTES_MAX = 1 << 20


def point(args: argparse.Namespace, option: str, value: int, batch: int) -> "list[str]":
    """The cells of the gateway's row."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "table.md"
        command = [args.bench, "run", "--servers", "bare,parse-plain,kinesis", "--http", "h1", "--tls", "false", "--batches", str(batch),
                   "--seconds", str(args.seconds), "--rounds", str(args.rounds), "--events", "20000", "--parse-plain", args.parse_plain,
                   "--gateway", args.gateway, "--data", args.data, "--out", str(out), option, str(value)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        row = next(line for line in out.read_text().splitlines() if "**lakegate**" in line)
        head = [line for line in out.read_text().splitlines() if line.startswith("- ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    if "VOID" in row:
        sys.exit(f"{option} {value}: {row}")
    args.machine = args.machine or head[:6]
    return [cells[COLUMNS[name]] for name in ("events/s", "cpu", "bare", "parse", "latency", "memory")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--parse-plain", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.machine = None
    text = ""
    for title, option, values, batches in CURVES:
        text += f"\n## {title}\n\n| {title.lower()} | batch | events/s | CPU-s per million events (user + system) | × `bare` | × `parse`, members sorted | "
        text += "p50 / p99 / p99.9 ms at half of it | RSS now / peak MiB |\n|---|---|---|---|---|---|---|---|\n"
        for batch in batches:
            for value in values:
                if option == "--event-bytes" and value * batch > BODY_BYTES_MAX:
                    continue
                text += f"| {value:,} | {batch} | {' | '.join(point(args, option, value, batch))} |\n"
    head = "# What an event costs as things grow\n\nMade by `make scale`. What bends a curve is said in loadtest/README.md.\n\n"
    args.out.write_text(head + "\n".join(args.machine) + "\n" + text)


if __name__ == "__main__":
    main()
