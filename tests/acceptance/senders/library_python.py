"""The library of clients/python, as a service uses it. It names events itself, so the UUIDs on standard input do not count."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "clients/python/src"))

import lakegate  # noqa: E402


def tell(rejected: lakegate.Rejected):
    print("rejected:", rejected.code, rejected.pointer, rejected.event["event_uuid"], file=sys.stderr)


client = lakegate.Client(os.environ["LAKEGATE_URL"], os.environ["LAKEGATE_KEY"], on_rejected=tell, flush_seconds=0.1)
for line in sys.stdin:
    event = json.loads(line)
    client.track(event["event_name"], {"bad": True} if "bad" in event else {})
sys.exit(1 if client.close(60) else 0)
