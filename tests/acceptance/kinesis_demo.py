"""`make kinesis`: a Kinesis server that is not ours, a gateway pointed at it, a stream, and every record that arrives in it.

An event is posted each second until Ctrl-C, beside what you post yourself; with --events, so many at once, and that is all.
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from events import good_events, new_uuid, text
from gateway import Gateway
from kinesis_reader import Reader, Record, bills
from kinesis_servers import LIFE_SECONDS_MAX, SERVERS, sink_environment

STREAM = "events"
SHOWN_CHARS = 100


def say(line: str = ""):
    print(line, flush=True)


def show(record: Record):
    """One line: the shard, what it holds, and how it begins."""
    users = record.user_records()
    lines = [line for user in users for line in user.lines()]
    kind = "KPL aggregate" if record.is_aggregate else "record"
    events = "1 event" if len(lines) == 1 else f"{len(lines)} events"
    begin = lines[0].decode()
    begin = begin if len(begin) <= SHOWN_CHARS else begin[:SHOWN_CHARS] + "…"
    say(f"{record.shard_id}  {kind} of {len(record.data)} B, {events}  {begin}")


def post(gateway: Gateway, count: int):
    """Some of the schemas' own examples, as new events."""
    events = [random.choice(good_events()) | {"event_uuid": new_uuid()} for _ in range(count)]
    answer = gateway.post("[" + ",".join(map(text, events)) + "]")
    assert answer.status == 202, f"the gateway answered {answer.status}: {answer.body.decode()}"


def watch(gateway: Gateway, reader: Reader):
    """Posts an event each second and shows what arrives, until Ctrl-C or the server's end."""
    until = time.monotonic() + LIFE_SECONDS_MAX - 60
    due = time.monotonic()
    while time.monotonic() < until:
        if time.monotonic() >= due:
            post(gateway, 1)
            due += 1
        for record in reader.poll():
            show(record)
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(prog="make kinesis", description=__doc__.split("\n\n")[1])
    parser.add_argument("--events", type=int, metavar="N", help="post N events, show them, and end")
    parser.add_argument("--server", choices=SERVERS, default="kinesalite", help="default: %(default)s")
    parser.add_argument("--format", choices=("flat", "envelope"), default="flat", help="default: %(default)s")
    parser.add_argument("--aggregation", choices=("none", "kpl", "ndjson"), default="none", help="default: %(default)s")
    parser.add_argument("--shards", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--listen", default="127.0.0.1:8443", help="the gateway's address, default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakegate-kinesis-") as folder, contextlib.ExitStack() as stack:
        server = SERVERS[options.server](Path(folder))
        stack.callback(server.stop)
        server.create_stream(STREAM, options.shards)
        settings = sink_environment(server, STREAM, format=options.format, aggregation=options.aggregation)
        gateway = Gateway(Path(folder), environment=settings, listen=options.listen, own_group=True)
        stack.callback(gateway.stop)
        gateway.start()
        reader = Reader(server.client("kinesis"), STREAM)
        say(f"Kinesis ({server.name}): {server.endpoint}, stream {STREAM}, {options.shards} shards")
        say(f"Gateway: {gateway.url}, log {gateway.log}")
        say(f"Post your own: curl --cacert {gateway.certificate} -H 'X-Api-Key: dev' --json @EVENT.json {gateway.url}/v1/events")
        say()
        if options.events is None:
            with contextlib.suppress(KeyboardInterrupt):
                watch(gateway, reader)
            say()
        else:
            post(gateway, options.events)
            reader.until(options.events)
            for record in reader.records:
                show(record)
        # What is on its way arrives before the gateway ends; the server ends after it.
        code = gateway.stop()
        for record in reader.poll():
            show(record)
        if reader.records:
            say(f"\n{bills(reader.records)[0]}")
        return code


def interrupt(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Whoever ends it, what it started ends too.
    # Also where it was started in the background, whose processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
