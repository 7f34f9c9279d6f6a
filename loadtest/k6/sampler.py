"""What the gateway takes while a load runs: processor time and memory from /proc, and what /metrics says meanwhile."""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# /metrics is on loopback; a proxy of the machine's must not come between.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Sample:
    at: float
    user_seconds: float
    system_seconds: float
    memory_mib: float
    # Of it, pages of files: the program itself.
    file_pages_mib: float
    received_events: float
    spool_events: float
    dedup_mib: float

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


def read_metrics(admin_port: int) -> dict[str, float]:
    """Every sample of /metrics by name and labels, without the label of the only sink."""
    with OPENER.open(f"http://127.0.0.1:{admin_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {re.sub(r'sink="[^"]*",?', "", name).replace("{}", ""): float(value) for name, value in samples}


def sample(pid: int, admin_port: int) -> Sample:
    # The command's name, in brackets, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    metrics = read_metrics(admin_port)
    return Sample(
        at=time.monotonic(),
        user_seconds=int(fields[11]) / TICKS_PER_SECOND,
        system_seconds=int(fields[12]) / TICKS_PER_SECOND,
        memory_mib=int(status["VmRSS"].split()[0]) / 1024,
        file_pages_mib=int(status["RssFile"].split()[0]) / 1024,
        received_events=metrics["lakegate_events_received_total"],
        spool_events=metrics["lakegate_spool_events"],
        dedup_mib=metrics["lakegate_dedup_memory_bytes"] / MIB,
    )


class Sampler:
    """Samples a gateway in a thread of its own, from `with` until its end."""

    def __init__(self, pid: int, admin_port: int, interval_seconds: float):
        self.pid, self.admin_port, self.interval_seconds = pid, admin_port, interval_seconds
        self.samples: list[Sample] = []
        self.failure: Exception | None = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def take(self):
        self.samples.append(sample(self.pid, self.admin_port))

    def run(self):
        try:
            while not self.over.wait(self.interval_seconds):
                self.take()
        except Exception as failure:  # whatever it is, the run is to fail with it
            self.failure = failure

    def __enter__(self) -> Sampler:
        self.take()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.failure:
            raise self.failure
        self.take()

    @property
    def cpu_seconds(self) -> float:
        return self.samples[-1].cpu_seconds - self.samples[0].cpu_seconds

    def highest_rate(self) -> float:
        """Events per second, over the busiest second (or interval, where that is longer)."""
        highest, begin = 0.0, 0
        for now in self.samples:
            while begin + 1 < len(self.samples) and self.samples[begin + 1].at <= now.at - 1:
                begin += 1
            before = self.samples[begin]
            if now.at - before.at >= 0.5:
                highest = max(highest, (now.received_events - before.received_events) / (now.at - before.at))
        return highest

    def at(self, share: float) -> Sample:
        """The sample at this share of the run."""
        return self.samples[min(int(share * len(self.samples)), len(self.samples) - 1)]
