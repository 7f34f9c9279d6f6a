"""What the tests share: real gateways, and clients of them. tests/acceptance/gateway.py starts the program (LAKEGATE_BIN)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parents[1]
sys.path[:0] = [str(PACKAGE / "src"), str(ROOT / "tests/acceptance"), str(Path(__file__).parent)]
# Child processes import the same package.
os.environ["PYTHONPATH"] = str(PACKAGE / "src")
# Everything here is on loopback.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

from gateway import Gateway  # noqa: E402

import lakegate  # noqa: E402

QUICK = {"LAKEGATE__LAKE__FLUSH_AGE_MS": "200"}


@pytest.fixture
def gateways(tmp_path):
    """Starts gateways, and stops them when the test is over."""
    started = []

    def start(**options) -> Gateway:
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        environment = QUICK | options.pop("environment", {})
        started.append(Gateway(folder, environment=environment, **options))
        return started[-1].start()

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture
def gateway(gateways):
    return gateways()


@pytest.fixture
def client(gateway):
    """Makes clients of the gateway, and closes them."""
    made = []

    def make(**options) -> lakegate.Client:
        options = {"key": "dev", "cafile": gateway.certificate, "flush_seconds": 0.05} | options
        made.append(lakegate.Client(gateway.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close(0)


def run(script: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Runs a program of Python in a process of its own; its output is text."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
