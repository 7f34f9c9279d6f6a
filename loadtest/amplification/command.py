"""`make amplification`: what each attack costs the gateway for each byte it sends, compared with an ordinary event.

Each attack has its own gateway on loopback, with an empty data folder and default rates and limits. The attacker is a process at the
lowest priority (`nice 19`) that sends as fast as it can. An honest sender, another process, sends an event each 20 ms over one
connection. Then the gateway stops, so that the work it still had to do is measured too.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from amplification.attacks import CATALOGUE, Attack
from amplification.measure import Bench
from amplification.table import Run, above, disturbed, markdown, write

SECONDS = 1.0


def measure(binary: Path, attacks: list[Attack], seconds: float, work: Path | None = None, say=print) -> Run:
    """Runs `attacks` against `binary`."""
    bench, run = Bench(binary, seconds, work), Run()
    try:
        needed = {(attack.key or "server", "h2" if attack.wire == "h2" else "h1") for attack in attacks}
        for key, wire in sorted(needed):
            run.baselines[key, wire] = bench.baseline(key, wire)
        for is_tls in sorted({attack.wire == "tls" for attack in attacks} | {False}):
            run.quiet[is_tls] = bench.quiet_cost(is_tls)
        for attack in attacks:
            cost = run.costs[attack] = bench.cost(attack)
            say(f"  {attack.name}, {attack.sender}: CPU {run.cpu_ratio(attack):.2f} ×, disk {cost.disk_per_byte:.2f} ×, "
                f"p99 {run.p99(attack):.0f} ms, {dict(cost.tally.statuses)}")
    finally:
        bench.close()
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the gateway, as it is now: a release build")
    parser.add_argument("--before", type=Path, help="an older one, to compare with")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each attack ({SECONDS:g})")
    parser.add_argument("--only", default="", help="attacks with this in their name or sender")
    parser.add_argument("--work", type=Path, help="a folder for the gateways' data, on the disk that is meant")
    parser.add_argument("--write", type=Path, help="a file of Markdown that gets the table, between its marks")
    options = parser.parse_args()
    work = options.work and options.work.resolve()
    attacks = [attack for attack in CATALOGUE if options.only in f"{attack.name}, {attack.sender}"]
    started = time.monotonic()
    runs = []
    for binary in filter(None, (options.before, options.binary)):
        print(f"{binary}: {len(attacks)} attacks", file=sys.stderr, flush=True)
        runs.append(measure(binary, attacks, options.seconds, work, lambda line: print(line, file=sys.stderr, flush=True)))
    after, before = runs[-1], runs[0] if options.before else None
    text = markdown(after, before, options.seconds)
    print(text)
    if options.write:
        write(options.write, text)
    found = f"{len(above(after))} above a bound, {len(disturbed(after))} beside which an honest sender waits too long"
    print(f"{time.monotonic() - started:.0f} s; {found}", file=sys.stderr)
    return 1 if above(after) else 0
