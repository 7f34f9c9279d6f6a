"""Requests, with `raise_for_status`."""

import os
import sys

import requests

headers = {"X-Api-Key": os.environ["LAKEGATE_KEY"], "Content-Type": "application/x-ndjson"}
try:
    requests.post(os.environ["LAKEGATE_URL"], sys.stdin.buffer.read(), headers=headers, timeout=30).raise_for_status()
except requests.RequestException:
    sys.exit(1)
