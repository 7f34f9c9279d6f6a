"""One attack against one gateway, with an honest sender beside it: what it cost."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from amplification import bodies
from amplification.attacks import NAMES, Attack, post
from amplification.flood import Tally, Target, attack_with
from amplification.gateway import SCHEMAS, Disk, MeasuredGateway, large_registry
from amplification.honest import Heard, send
from amplification.wire import PATH, H2Request

BASELINE_REQUESTS = 12_000
"""Ordinary events at most: fewer than a key may send at once."""

FORK = multiprocessing.get_context("fork")


@dataclass
class Cost:
    """What an attack, or an ordinary sender, cost."""

    tally: Tally
    cpu_seconds: float
    is_whole: bool
    """Whether the gateway ended in time. Else it cost more than was counted."""
    memory: int
    """Bytes above rest, at most."""
    spool: int
    letters: int
    other: int
    """Bytes of the dedup window and of the lake at the end."""
    heard: Heard

    @property
    def cpu_per_byte(self) -> float:
        return self.cpu_seconds / max(1, self.tally.sent)

    @property
    def disk_per_byte(self) -> float:
        """Bytes of spool and dead letters for each byte of the requests that were not refused; for each byte if all were."""
        return (self.spool + self.letters) / max(1, self.tally.stored or self.tally.sent)


def ordinary(key: str, wire: str) -> Attack:
    """Not an attack: events as they are meant to be, each on a connection on which the one before is answered."""
    def over_h1():
        return (post(bodies.ordinary(), key) for _ in itertools.count())

    def over_h2():
        return (H2Request("POST", PATH, key, bodies.ordinary()) for _ in itertools.count())

    return Attack("an ordinary event", over_h2 if wire == "h2" else over_h1, key, 16, wire, connections=16, window=1)


class Bench:
    """Runs attacks against the gateways of one binary."""

    def __init__(self, binary: Path, seconds: float, work: Path | None = None):
        self.binary, self.seconds = binary, seconds
        self.folder = Path(tempfile.mkdtemp(prefix="lakegate-amplification-", dir=work))
        self.registry: Path | None = None
        self.quiet: dict[bool, Cost] = {}
        """Of the honest sender alone, without TLS and with it."""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def quiet_cost(self, is_tls: bool) -> Cost:
        """Of the honest sender alone."""
        if is_tls not in self.quiet:
            self.run(None, is_tls)  # a first one, which nobody counts
            self.quiet[is_tls] = self.run(None, is_tls)
        return self.quiet[is_tls]

    def baseline(self, key: str, wire: str) -> Cost:
        """Of ordinary events with this key, with nobody beside them. The cheaper of two runs, so that no attack looks cheap."""
        runs = [self.run(ordinary(key, wire), False, BASELINE_REQUESTS, is_alone=True) for _ in range(2)]
        return min(runs, key=lambda cost: cost.cpu_per_byte)

    def cost(self, attack: Attack) -> Cost:
        """Of `attack`, without the honest sender."""
        quiet = self.quiet_cost(attack.wire == "tls")
        return self.less(self.run(attack, attack.wire == "tls"), quiet)

    @staticmethod
    def less(cost: Cost, quiet: Cost) -> Cost:
        cost.cpu_seconds = max(0.0, cost.cpu_seconds - quiet.cpu_seconds)
        cost.memory = max(0, cost.memory - quiet.memory)
        cost.spool = max(0, cost.spool - quiet.spool)
        cost.other = max(0, cost.other - quiet.other)
        return cost

    def schemas(self, attack: Attack | None) -> Path:
        if attack is None or not attack.large_registry:
            return SCHEMAS
        if self.registry is None:
            self.registry = large_registry(self.folder / "schemas", NAMES)
        return self.registry

    def run(self, attack: Attack | None, is_tls: bool, requests_max: int | None = None, is_alone: bool = False) -> Cost:
        if attack:
            # The bodies are made before the clock starts.
            next(iter(attack.requests()))
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        gateway = MeasuredGateway(self.binary, folder, is_tls=is_tls, schemas=self.schemas(attack))
        processes = []
        try:
            ours, theirs = FORK.Pipe()
            heard = Heard()
            if not is_alone:
                processes.append(FORK.Process(target=send, args=(gateway.port, is_tls, self.seconds, theirs)))
                processes[-1].start()
                theirs.close()
                ours.recv()
            at_rest, _ = gateway.memory()
            gateway.forget_memory()
            disk, started = Disk(gateway.data), gateway.cpu_seconds()
            tally = Tally()
            if attack:
                port = gateway.admin_port if attack.admin else gateway.port
                tallies, sending = FORK.Pipe()
                target = Target(port, self.seconds, requests_max)
                processes.append(FORK.Process(target=attack_with, args=(attack, target, sending)))
                processes[-1].start()
                # So that its end is seen where it dies.
                sending.close()
            if not is_alone:
                ours.send("go")
            disk.start()
            if attack:
                tally = tallies.recv()
            if not is_alone:
                heard = ours.recv()
            _, most = gateway.memory()
            in_all, is_whole = gateway.stop()
            disk.ended.set()
            disk.join()
            grown = disk.grown()
            other = gateway.folder_bytes("dedup", "lake")
            return Cost(tally, in_all - started, is_whole, most - at_rest, grown["spool"], grown["letters"], other, heard)
        finally:
            gateway.stop()
            for process in processes:
                process.terminate()
                process.join()
            shutil.rmtree(folder, ignore_errors=True)
