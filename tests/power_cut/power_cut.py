#!/usr/bin/env python3
"""Power cuts on a file system that forgets what was not synced. `make power-cut CUTS=300` runs it for long.

Two kinds of runs take turns, with the lake inside and outside of the data folder, and with TLS on:

* *First start*: the first start of a new data folder ends at its n-th change, by a cut or by a kill. The gateway is started
  again, acknowledges an event and rejects another, and the power goes with everything lost that was not synced.
* *Series*: many cuts of one data folder, at any change of a start, under load, or while nothing happens, some of them with the
  program killed alone before. After each start the newest acknowledged events are sent again and must be duplicates.

In the end every acknowledged event is in the lake exactly once, with the bytes that were sent, and every rejected one is in the
dead letters (ledger.py). What fails is said with the seed that runs it again: `--seed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import http.client
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ledger import Ledger, Load, Sender, new_event  # noqa: E402
from strict_disk import StrictDisk, Unavailable  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SECRET = "power-cut-secret"
START_SECONDS = 60
FIRST_CHANGES = 80
"""A first start makes some 45 to 65 changes of the file system; then come those of the first events."""
VARIANTS = ["lake inside", "TLS", "lake outside", "folder made before"]
ENDINGS = ["kill", "none", "all", "torn"]
"""How a first start ends: killed, or cut with none, all or parts of what was not synced left."""


class Gateway:
    """The program under test on the strict disk."""

    def __init__(self, disk: StrictDisk, binary: Path, variant: str, log: Path, flush_age_ms: int = 60_000):
        self.disk, self.binary, self.log, self.process = disk, binary, log.open("wb"), None
        self.tls = variant == "TLS"
        self.data = disk.root / "data"
        self.lake = disk.root / "other/lake" if variant == "lake outside" else self.data / "lake"
        self.port, self.admin = free_ports()
        self.key = "dev" if self.tls else SECRET
        key = f'[[keys]]\nname = "web"\nsecret_sha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}"\n'
        self.config = log.with_suffix(".toml")
        self.config.write_text(f"""
data_dir = "{self.data}"
[http]
listen = "127.0.0.1:{self.port}"
plaintext = {str(not self.tls).lower()}
[admin]
listen = "127.0.0.1:{self.admin}"
[schemas]
dir = "{ROOT / "schemas"}"
unknown_events = "accept"
watch = false
[spool]
segment_bytes = 2200000
quota_bytes = 17600000
free_bytes_min = 8388608
[lake]
flush_age_ms = {flush_age_ms}
root = "{self.lake if variant == "lake outside" else ""}"
batch_bytes_max = 1048576
[rate_limit]
events_per_second = 100000
events_burst = 100000
[telemetry]
log_format = "json"
{"" if self.tls else key}""")
        if variant == "folder made before":
            self.data.mkdir()

    def start(self):
        command = [self.binary, "serve", "--config", self.config]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self) -> bool:
        """Whether it takes events; not where it ended, or where the power went."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_running() and self.disk.has_power():
            if self.ask("/readyz")[0] == 200:
                return True
            time.sleep(0.02)
        return False

    def ask(self, path: str) -> tuple[int, str]:
        """Asks the operators' listener; status 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def wait_drained(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_running():
            if "lakegate_spool_events 0\n" in self.ask("/metrics")[1]:
                return True
            time.sleep(0.05)
        return False

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(START_SECONDS)

    def sender(self, ledger: Ledger) -> Sender:
        return Sender(ledger, self.port, self.key, self.tls)

    def said(self) -> str:
        return Path(self.log.name).read_bytes()[-800:].decode(errors="replace").strip()


def free_ports() -> list[int]:
    listeners = [socket.socket() for _ in range(2)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@dataclasses.dataclass
class Total:
    """What was done."""

    cuts: int = 0
    kills: int = 0
    runs: int = 0
    acknowledged: int = 0
    rejected: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)

    def count(self, ledger: Ledger, name: str, wrong: list[str]):
        self.runs += 1
        self.acknowledged += len(ledger.of("accepted"))
        self.rejected += len(ledger.of("rejected"))
        self.wrong += [f"{name}: {what}" for what in wrong]


class Runner:
    def __init__(self, disk: StrictDisk, binary: Path, work: Path, say):
        self.disk, self.binary, self.work, self.say, self.total = disk, binary, work, say, Total()
        self.work.mkdir(parents=True, exist_ok=True)

    def gateway(self, variant: str, **more) -> Gateway:
        self.disk.tell("reset")
        return Gateway(self.disk, self.binary, variant, self.work / f"gateway-{self.total.runs}.log", **more)

    def cut(self, gateway: Gateway, mode: str, seed: int):
        """The power goes, where it is not gone, and comes back; nothing that ran is left."""
        self.disk.tell(f"cut {mode} {seed}")
        gateway.kill()
        self.disk.tell("power")
        self.total.cuts += 1

    def end(self, gateway: Gateway, ledger: Ledger, name: str, wrong: list[str]):
        """Starts for the last time, sends all again, and looks at what lies on the disk."""
        if not wrong:
            gateway.start()
            if gateway.wait_ready():
                sender = gateway.sender(ledger)
                sender.resend(ledger.accepted + ledger.of("unknown", "retry"), "at the end")
                # A stop delivers what is there.
                gateway.stop()
                wrong = ledger.verdict(self.binary, gateway.data, gateway.lake)
            else:
                wrong = [f"does not start at the end: {gateway.said()}"]
        gateway.kill()
        self.total.count(ledger, name, wrong)
        if wrong:
            shutil.copytree(self.disk.root, self.work / f"disk-{self.total.runs}", dirs_exist_ok=True)
        self.say(f"{'WRONG' if wrong else 'ok'} {name}: {len(ledger.of('accepted'))} acknowledged, {self.total.cuts} cuts {wrong[:3] or ''}")

    def first_start(self, variant: str, ending: str, change: int):
        """A first start that ends at its n-th change, and a cut after the first answers of the second one."""
        gateway, ledger, rng = self.gateway(variant), Ledger(), random.Random(change)
        self.disk.tell(f"stop {change}" if ending == "kill" else f"arm {change} {ending} {change}")
        gateway.start()
        came_up = gateway.wait_ready()
        gateway.kill()
        where = "after it" if came_up else self.disk.last_change().replace(str(self.disk.root), "")
        self.total.kills += ending == "kill"
        self.total.cuts += ending != "kill" and not came_up
        self.disk.tell("power")
        name, wrong = f"first start, {variant}, {ending} at change {change} ({where})", []
        gateway.start()
        if gateway.wait_ready():
            sender = gateway.sender(ledger)
            for is_valid in (True, False):
                sender.send([new_event(rng, is_valid)], name, lambda _, is_valid=is_valid: is_valid)
            if sorted(ledger.state.values()) != ["accepted", "rejected"]:
                wrong = [f"answers are {list(ledger.state.values())}"]
            self.cut(gateway, "none", 1)
        else:
            wrong = [f"does not start again: {gateway.said()}"]
        self.end(gateway, ledger, name, wrong)

    def series(self, seed: int, variant: str, cuts: int):
        """Many cuts of one data folder."""
        rng, ledger, wrong = random.Random(seed), Ledger(), []
        gateway = self.gateway(variant, flush_age_ms=rng.choice([300, 2000]))
        name = f"series {seed}, {variant}"
        if rng.random() < 0.3:
            name += ", settled"
            gateway.start()
            gateway.wait_ready()
            gateway.stop()
            self.disk.tell("sync")
        for number in range(cuts):
            wrong = self.one_cut(gateway, ledger, rng, f"{name}, cut {number}")
            if wrong or ledger.faults:
                break
        self.end(gateway, ledger, name, wrong)

    def one_cut(self, gateway: Gateway, ledger: Ledger, rng: random.Random, note: str) -> list[str]:
        mode, seed = rng.choice(["none", "none", "some", "torn", "torn", "all"]), rng.getrandbits(32)
        if rng.random() < 0.3:
            # The program dies alone, anywhere; what it wrote is seen by the next one, and not durable.
            gateway.start()
            time.sleep(rng.choice([0.06, 0.06, 1]) * rng.random())
            gateway.kill()
            self.total.kills += 1
        during_start, settled = rng.random() < 0.3, rng.random() < 0.1
        if during_start:
            self.disk.tell(f"arm {rng.randrange(FIRST_CHANGES)} {mode} {seed}")
        gateway.start()
        if gateway.wait_ready():
            sender = gateway.sender(ledger)
            newest = ledger.accepted[-400:] + rng.sample(ledger.accepted, min(100, len(ledger.accepted)))
            sender.resend(newest + ledger.of("unknown", "retry"), note) if self.disk.has_power() else None
            if not during_start and not settled:
                self.disk.tell(f"arm {int(2 ** rng.uniform(4, 11))} {mode} {seed}")
            if settled:
                gateway.wait_drained()
            else:
                load = Load(lambda: gateway.sender(ledger), ledger, note, seed)
                deadline = time.monotonic() + 4
                while self.disk.has_power() and gateway.is_running() and time.monotonic() < deadline:
                    time.sleep(0.005)
                load.stopped.set()
                if not gateway.is_running() and self.disk.has_power():
                    return [f"{note}: ended by itself: {gateway.said()}"]
                self.cut(gateway, mode, seed)
                load.stop()
                return []
        elif self.disk.has_power():
            return [f"{note}: does not start: {gateway.said()}"]
        self.cut(gateway, mode, seed)
        return []


def run(binary: Path, work: Path, cuts: int, seconds: float = float("inf"), seed: int | None = None, say=print) -> Total:
    """Both kinds of runs in turns, until there were so many cuts or the time is over."""
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    say(f"--seed {seed}")
    rng, disk = random.Random(seed), StrictDisk()
    try:
        runner = Runner(disk, binary, work, say)
        deadline = time.monotonic() + seconds
        turn = 0
        while runner.total.cuts < cuts and time.monotonic() < deadline and len(runner.total.wrong) < 10:
            variant = VARIANTS[turn % len(VARIANTS)]
            for ending in rng.sample(ENDINGS, 2):
                runner.first_start(variant, ending, rng.randrange(FIRST_CHANGES))
            if time.monotonic() < deadline:
                runner.series(rng.getrandbits(32), variant, cuts=12 if seconds > 600 else 4)
            turn += 1
        return runner.total
    finally:
        disk.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the gateway")
    parser.add_argument("--work", type=Path, required=True, help="folder for logs, and for disks on which something is wrong")
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="ends after so many")
    parser.add_argument("--seed", type=int, help="the same choices as a run before; what the load does in time is another")
    options = parser.parse_args()
    try:
        total = run(options.binary.absolute(), options.work.absolute(), options.cuts, options.seconds, options.seed)
    except Unavailable as error:
        print(f"power cuts cannot be tested here: {error}", file=sys.stderr)
        return 2
    print(f"{total.cuts} cuts and {total.kills} kills in {total.runs} runs: {total.acknowledged} acknowledged, {total.rejected} rejected")
    for what in total.wrong:
        print(f"WRONG {what}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
