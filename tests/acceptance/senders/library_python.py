"""The library of clients/python, as a service uses it. It names events itself, so the UUIDs on standard input do not count."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "clients/python/src"))

import lakegate  # noqa: E402


def tell(rejected: lakegate.Rejected):
    print("rejected:", rejected.code, rejected.pointer, rejected.event["event_uuid"], file=sys.stderr)


lines = sys.stdin.readlines()
# One batch, however slow the machine is.
one_batch = dict(batch_events=len(lines), flush_seconds=60)
client = lakegate.Client(os.environ["LAKEGATE_URL"], os.environ["LAKEGATE_KEY"], on_rejected=tell, **one_batch)
for line in lines:
    event = json.loads(line)
    client.track(event["event_name"], {"bad": True} if "bad" in event else {})
sys.exit(1 if client.close(60) else 0)
