"""What came out of a run: every check with its verdict, and a summary in Markdown."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field

from sampler import Sampler

COUNTS = ("sent", "accepted", "duplicates", "rejected", "retry", "unanswered")
TIMES = {
    "http_req_duration": "request to answer",
    "http_req_connecting": "TCP connection",
    "http_req_tls_handshaking": "TLS handshake",
}


@dataclass
class Check:
    what: str
    passed: bool
    found: str


@dataclass
class Report:
    shape: str
    says: str
    command: str
    # k6's end-of-test summary.
    summary: dict
    sampler: Sampler
    k6_cpu_seconds: float
    checks: list[Check] = field(default_factory=list)

    def check(self, what: str, passed: bool, found):
        self.checks.append(Check(what, bool(passed), str(found)))

    def equal(self, what: str, found: float, expected: float):
        self.check(what, found == expected, f"{found:,.0f}" if found == expected else f"{found:,.0f}, not {expected:,.0f}")

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> list[str]:
        return [f"{check.what}: {check.found}" for check in self.checks if not check.passed]

    def values(self, metric: str) -> dict[str, float]:
        """A metric of k6; one that never had a value is not in its summary."""
        return self.summary["metrics"].get(metric, {"values": {}})["values"]

    def count(self, outcome: str) -> int:
        return int(self.values(f"events_{outcome}").get("count", 0))

    @property
    def load_seconds(self) -> float:
        return self.summary["state"]["testRunDurationMs"] / 1000

    def add_thresholds(self):
        for name, metric in sorted(self.summary["metrics"].items()):
            for limit, verdict in metric.get("thresholds", {}).items():
                values = metric["values"]
                found = next((values[key] for key in values if limit.startswith(key)), None)
                self.check(f"k6: {name} {limit}", verdict["ok"], "–" if found is None else f"{found:,.4g}")

    def markdown(self) -> str:
        sampler, requests = self.sampler, self.values("http_reqs")["count"]
        events, seconds, cpu = self.count("sent"), self.load_seconds, sampler.cpu_seconds
        per_million = f"{cpu / events * 1e6:.1f} CPU-seconds per million events" if events else "no events"
        memory = [sample.memory_mib for sample in sampler.samples]
        lines = [
            f"# {self.shape}: {'passed' if self.passed else 'FAILED'}",
            "",
            self.says,
            "",
            f"`{self.command}`, {seconds:.1f} s, {machine()}",
            "",
            "| | |",
            "|---|---|",
            f"| events | {events:,} sent, {events / seconds:,.0f}/s; at most {sampler.highest_rate():,.0f}/s over a second |",
            f"| requests | {requests:,.0f}, {requests / seconds:,.1f}/s, {events / max(requests, 1):.1f} events in each |",
            "| outcomes | " + ", ".join(f"{self.count(name):,} {name}" for name in COUNTS[1:]) + " |",
            f"| gateway | {cpu / seconds * 100:.0f} % of a core, {per_million} |",
            f"| its memory | {memory[0]:.0f} MiB at the start, {memory[-1]:.0f} at the end, {max(memory):.0f} at most;"
            f" {sampler.samples[-1].dedup_mib:.1f} of it the dedup window's filters and indexes |",
            f"| in ten steps | {', '.join(f'{sampler.at(step / 10).memory_mib:.0f}' for step in range(11))} MiB |",
            f"| its spool | {max(sample.spool_events for sample in sampler.samples):,.0f} events at most |",
            f"| k6 | {self.k6_cpu_seconds / seconds * 100:.0f} % of a core |",
            "",
            "| ms | p50 | p95 | p99 | p99.9 | max |",
            "|---|---|---|---|---|---|",
        ]
        for metric, name in TIMES.items():
            values = self.values(metric)
            cells = [f"{values[key]:.1f}" for key in ("med", "p(95)", "p(99)", "p(99.9)", "max")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", "| check | | found |", "|---|---|---|"]
        lines += [f"| {one.what} | {'passed' if one.passed else '**FAILED**'} | {one.found} |" for one in self.checks]
        return "\n".join(lines) + "\n"


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
