"""Segment's library for Python. It names events itself, so the UUIDs on standard input do not count."""

import json
import os
import sys
from urllib.parse import urlsplit

from segment.analytics import Client

failed = []
url = urlsplit(os.environ["LAKEGATE_URL"])
client = Client(os.environ["LAKEGATE_KEY"], host=f"{url.scheme}://{url.netloc}", on_error=lambda *error: failed.append(error), upload_interval=0.2)
for line in sys.stdin:
    event = json.loads(line)
    client.track("u-1", event["event_name"], {"bad": True} if "bad" in event else {})
client.shutdown()
sys.exit(1 if failed else 0)
