"""`make load SHAPE=…`: k6 against a gateway of its own, one shape of load, and a summary that says whether all is well.

The gateway is the real program with its own configuration on free loopback ports and an empty folder; k6 talks TLS to it
and trusts its certificate. At the end k6's books, the gateway's and what is in the lake or the stream have to agree.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests/acceptance")]

from gateway import ENVIRONMENT, ROOT, Gateway, binary, wait_until  # noqa: E402
from kinesis_reader import Reader, event_uuid  # noqa: E402
from kinesis_servers import Kinesalite, sink_environment  # noqa: E402
from registry import bad_events, good_events, hundred_types, newest  # noqa: E402
from report import COUNTS, Report  # noqa: E402
from sampler import Sampler, read_metrics  # noqa: E402

RESULTS = HERE.parent / "results"
STREAM = "events"
# What k6 may take to start and, after the last request was due, to end.
K6_SLACK_SECONDS = 120
DRAIN_SECONDS_MAX = 120
# The budget: memory beside the dedup window. Of that the gateway counts what is on disk (its filters and indexes); the identities
# that it holds in memory until then are in here.
MEMORY_MIB_MAX = 100
# What a release build has of the program in memory. A smoke run is of a debug build, which has more than twice as much.
PROGRAM_MIB = 30
# By how much the most memory of a soak's last third may be over that of its second: noise of the allocator, identities held until
# they are written out.
GROWTH_MIB_MAX = 10
# A soak shorter than this says nothing about growth: the first files of the lake are not yet written.
SOAK_SECONDS_MIN = 300


@dataclass(frozen=True)
class Shape:
    says: str
    seconds: int = 60
    hundred_types: bool = False
    stream: bool = False


SHAPES = {
    "browsers": Shape("A TLS connection for each request of 1 to 5 menu events, text/plain, the key in the address."),
    "services": Shape("Connections kept, 100 events in a request, JSON and NDJSON by turns, half of them gzip."),
    "mixed": Shape("100 event types at a million events an hour, half from pages, half from services.", hundred_types=True),
    "spike": Shape("The mix, ten times as much of it for half of the run.", hundred_types=True),
    "soak": Shape("The mix for long, with an eye on memory.", seconds=600, hundred_types=True),
    "duplicates": Shape("A fifth of the events was sent before: exactly those are answered duplicate."),
    "bad": Shape("A third of the events is bad: exactly those are rejected, with the right code and place."),
    "outage": Shape(
        "The mix, while the stream does not answer for a third of the run.", seconds=90, hundred_types=True, stream=True
    ),
}


@dataclass
class Options:
    shape: str
    seconds: int
    # Events per second; None: the shape's own.
    rate: float | None = None
    latency_factor: float = 1
    smoke: bool = False

    def command(self) -> str:
        rate = "" if self.rate is None else f" RATE={self.rate:g}"
        return f"make load SHAPE={self.shape} DURATION={self.seconds}s{rate}" + (" (smoke)" if self.smoke else "")


def run(options: Options) -> Report:
    """Runs one shape from an empty folder to a report."""
    shape = SHAPES[options.shape]
    with tempfile.TemporaryDirectory(prefix="lakegate-load-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        schemas = hundred_types(ROOT / "schemas", folder / "schemas") if shape.hundred_types else ROOT / "schemas"
        (folder / "good.json").write_text(json.dumps(good_events(newest(schemas))))
        (folder / "bad.json").write_text(json.dumps(bad_events(ROOT / "schemas")))
        # One key sends everything, and what it may send is not the question.
        environment = {f"LAKEGATE__RATE_LIMIT__EVENTS_{what}": "1000000" for what in ("PER_SECOND", "BURST")}
        server = None
        if shape.stream:
            server = Kinesalite(folder)
            stack.callback(server.stop)
            server.create_stream(STREAM, 2)
            call_timeout_ms = 1000 if options.smoke else 10_000
            environment |= sink_environment(server, STREAM, call_timeout_ms=call_timeout_ms)
            environment["LAKEGATE__SCHEMAS__UNKNOWN_EVENTS"] = "reject"
        gateway = Gateway(folder, environment=environment, schemas=schemas, own_group=True)
        stack.callback(gateway.stop)
        gateway.start()
        sampler = Sampler(gateway.process.pid, gateway.admin_port, 0.2 if options.smoke else 1)
        with sampler, outage(gateway, server, options.seconds) if server else contextlib.nullcontext():
            summary, k6_cpu_seconds = run_k6(folder, gateway, options)
        report = Report(options.shape, shape.says, options.command(), summary, sampler, k6_cpu_seconds)
        report.add_thresholds()
        check_ledger(report, gateway)
        if server:
            check_stream(report, gateway, server, options)
        else:
            check_lake(report, gateway, folder)
        check_memory(report, options.smoke)
        return report


def run_k6(folder: Path, gateway: Gateway, options: Options) -> tuple[dict, float]:
    """k6's summary and the processor time it took. Its exit code 99 says that a threshold failed, as does the summary."""
    summary, log = folder / "summary.json", folder / "k6.log"
    variables = {
        "GATEWAY": gateway.url,
        "GOOD_EVENTS": folder / "good.json",
        "BAD_EVENTS": folder / "bad.json",
        "SUMMARY": summary,
        "SECONDS": options.seconds,
        "LATENCY_FACTOR": options.latency_factor,
    }
    if options.rate is not None:
        variables["RATE"] = options.rate
    # No report of use, no server for remote control, no look at the user's own settings.
    command = [str(Path(sys.executable).parent / "k6"), "run", "--no-usage-report", "--address", "", "--quiet", "--no-color"]
    for name, value in variables.items():
        command += ["--env", f"{name}={value}"]
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("K6_")}
    # Go reads its trusted certificates from here: this one, and no others.
    environment |= {"HOME": str(folder), "SSL_CERT_FILE": str(gateway.certificate)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as output:
        k6 = subprocess.Popen([*command, str(HERE / f"shapes/{options.shape}.js")], env=environment, stdout=output, stderr=output)
        try:
            code = k6.wait(options.seconds + K6_SLACK_SECONDS)
        finally:
            k6.kill()
            k6.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = log.read_text(errors="replace")
    assert code in (0, 99) and summary.exists(), f"k6 ended with {code}:\n{said[-4000:]}"
    if code:
        print(said[:4000], file=sys.stderr)
    return json.loads(summary.read_text()), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextlib.contextmanager
def outage(gateway: Gateway, server: Kinesalite, seconds: int):
    """From a third of the run to two thirds the server is there and does not answer: the worst way to be away."""
    over = threading.Event()

    def signal_server(what: int):
        # It runs below `timeout`, which made itself a group with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.process.pid, what)

    def away():
        while read_metrics(gateway.admin_port)["lakegate_events_received_total"] == 0:
            if over.wait(0.05):
                return
        over.wait(seconds / 3)
        signal_server(signal.SIGSTOP)
        over.wait(seconds / 3)
        signal_server(signal.SIGCONT)

    thread = threading.Thread(target=away)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def check_ledger(report: Report, gateway: Gateway):
    """k6's books against the gateway's."""
    metrics = read_metrics(gateway.admin_port)

    def outcome(name: str) -> float:
        return sum(value for key, value in metrics.items() if key.startswith("lakegate_events_total") and f'"{name}"' in key)

    sent = report.count("sent")
    report.check("events were sent", sent > 0, f"{sent:,}")
    report.equal("sent = accepted + duplicates + rejected + retry + unanswered", sum(map(report.count, COUNTS[1:])), sent)
    report.equal("the gateway received what was sent", metrics["lakegate_events_received_total"], sent)
    for name, label in {"accepted": "accepted", "duplicates": "duplicate", "rejected": "rejected", "retry": "retry"}.items():
        report.equal(f"the gateway counts as many {name}", outcome(label), report.count(name))
    report.equal("dead letters on disk = rejected", len(gateway.dead_letters()), report.count("rejected"))
    report.equal("panics", metrics["lakegate_panics_total"], 0)


def check_lake(report: Report, gateway: Gateway, folder: Path):
    """Once the gateway has stopped, which drains it, the lake has every accepted event once."""
    report.equal("the gateway's exit code", gateway.stop(), 0)
    command = [str(binary()), "lake", "count", "--lake", str(gateway.data / "lake")]
    count = subprocess.run(command, cwd=folder, env=gateway.environment, capture_output=True, text=True, check=True)
    total = int(count.stdout.split()[-1]) if count.stdout.split() else 0
    report.equal("events in the lake = accepted", total, report.count("accepted"))
    identities = gateway.lake("count(DISTINCT event_uuid) AS events")
    report.equal("different ones in the lake = accepted", identities[0]["events"] if identities else 0, report.count("accepted"))


def check_stream(report: Report, gateway: Gateway, server: Kinesalite, options: Options):
    """Everything that was accepted is in the stream, and nothing twice but what a lost answer explains."""
    waiting = max(sample.spool_events for sample in report.sampler.samples)
    outage_events = report.count("sent") / 3
    report.check("the spool held the outage's events", waiting >= outage_events / 2, f"{waiting:,.0f} at most")
    begin = time.monotonic()
    wait_until("drained", DRAIN_SECONDS_MAX, lambda: read_metrics(gateway.admin_port)["lakegate_spool_events"] == 0)
    report.check("the spool is empty again", True, f"{time.monotonic() - begin:.1f} s after the load")
    maybe_twice = read_metrics(gateway.admin_port)["lakegate_maybe_duplicate_events_total"]
    report.equal("the gateway's exit code", gateway.stop(), 0)
    lines = Reader(server.client("kinesis"), STREAM).until(report.count("accepted"), DRAIN_SECONDS_MAX)
    identities = len(set(map(event_uuid, lines)))
    report.equal("different events in the stream = accepted", identities, report.count("accepted"))
    twice = len(lines) - identities
    report.check("twice in the stream: only where an answer was lost", twice <= maybe_twice, f"{twice} of {maybe_twice:,.0f}")


def check_memory(report: Report, smoke: bool):
    samples = report.sampler.samples
    too_much = [sample.file_pages_mib - PROGRAM_MIB if smoke else 0 for sample in samples]
    beside = [sample.memory_mib - sample.dedup_mib - debug for sample, debug in zip(samples, too_much, strict=True)]
    found = f"{max(beside):.0f} MiB"
    report.check(f"memory beside the dedup window ≤ {MEMORY_MIB_MAX} MiB", max(beside) <= MEMORY_MIB_MAX, found)
    if report.shape == "soak" and report.load_seconds >= SOAK_SECONDS_MIN:
        third = len(beside) // 3
        growth = max(beside[-third:]) - max(beside[third:-third])
        what = f"most memory of the last third over that of the second ≤ {GROWTH_MIB_MAX} MiB"
        report.check(what, growth <= GROWTH_MIB_MAX, f"{growth:+.1f} MiB")


def duration(text: str) -> int:
    """Seconds of 90s, 10m or 1h."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    if not number.isdecimal() or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 10m or 1h")
    return int(number) * units[unit]


def rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events per second, 1 or more")
    return value


def main() -> int:
    shapes = "\n".join(f"  {name:<12}{shape.says}" for name, shape in SHAPES.items())
    parser = argparse.ArgumentParser(
        prog="make load", description=f"{__doc__}\nShapes:\n{shapes}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES, metavar="SHAPE")
    parser.add_argument("--duration", type=duration, help="90s, 10m or 1h; default: 60s, outage 90s, soak 10m")
    parser.add_argument("--rate", type=rate, help="events per second; default: the shape's own")
    parser.add_argument("--latency-factor", type=float, default=1, help="allow so many times the latency, for a slow build")
    arguments = parser.parse_args()
    seconds = arguments.duration or SHAPES[arguments.shape].seconds
    options = Options(arguments.shape, seconds, rate=arguments.rate, latency_factor=arguments.latency_factor)
    print(f"{options.shape} for {seconds} s: {SHAPES[options.shape].says}", flush=True)
    report = run(options)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{options.shape}.md"
    file.write_text(report.markdown())
    print(f"\n{report.markdown()}\n{file.relative_to(ROOT)}")
    return 0 if report.passed else 1


def interrupt(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Whoever ends it, what it started ends too.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
