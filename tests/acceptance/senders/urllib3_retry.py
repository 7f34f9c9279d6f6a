"""Requests with the `Retry` of urllib3, as its documentation shows it, for POST."""

import os
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

session = requests.Session()
retry = Retry(total=3, backoff_factor=0.1, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=None)
session.mount("http://", HTTPAdapter(max_retries=retry))
headers = {"X-Api-Key": os.environ["LAKEGATE_KEY"], "Content-Type": "application/x-ndjson"}
try:
    session.post(os.environ["LAKEGATE_URL"], sys.stdin.buffer.read(), headers=headers, timeout=30).raise_for_status()
except requests.RequestException:
    sys.exit(1)
