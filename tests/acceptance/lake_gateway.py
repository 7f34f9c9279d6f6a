"""A gateway of its own for one test of the lake: started on free ports, fed, and stopped, which drains it into its lake."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import required

CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60


def binary(variable: str = "LAKEGATE_BIN") -> Path:
    """The gateway that the environment names, or the newest one built in this checkout."""
    named = os.environ.get(variable)
    if named:
        return Path(named)
    built = [CHECKOUT / "target" / profile / "lakegate" for profile in ("release", "debug")]
    built = [path for path in built if path.is_file()]
    if not built or variable != "LAKEGATE_BIN":
        required.cannot_run(f"no gateway to test: {variable} is not set")
    return max(built, key=lambda path: path.stat().st_mtime)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, what: str, process: subprocess.Popen | None = None):
    """Waits for `condition` to return something true, and returns it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if result := condition():
                return result
        assert process is None or process.poll() is None, f"ended while waiting for {what}"
        time.sleep(0.05)
    raise AssertionError(f"timed out waiting for {what}")


def schema(properties: dict) -> dict:
    """A schema with the three required fields and some of its own."""
    envelope = {"event_uuid": {"type": "string"}, "event_name": {"type": "string"}, "created_at": {"type": "number"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of a test",
        "description": "An event of a test.",
        "type": "object",
        "required": list(envelope),
        "properties": envelope | properties,
    }


def write_schemas(folder: Path, schemas: dict[tuple[str, int], dict]) -> Path:
    for (event_name, version), body in schemas.items():
        path = folder.joinpath(*event_name.split(":"), f"{version}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body))
    return folder


class Gateway:
    """A running gateway. The key is `dev`, which works on loopback while no other is configured."""

    def __init__(self, folder: Path, schemas: Path, lake: dict, variable: str = "LAKEGATE_BIN", more: str = ""):
        self.port, admin_port = free_port(), free_port()
        section = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lake.items())
        config = folder / "lakegate.toml"
        config.write_text(
            f'data_dir = "{folder / "data"}"\n'
            f'[http]\nlisten = "127.0.0.1:{self.port}"\nplaintext = true\n'
            f'[admin]\nlisten = "127.0.0.1:{admin_port}"\n'
            f'[schemas]\ndir = "{schemas}"\n'
            f"[lake]\n{section}\n"
            f"{more}\n"
        )
        self.log = (folder / "lakegate.log").open("w")
        command = [binary(variable), "serve", "--config", config]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        until(lambda: self._get("/healthz") == 200, "the gateway", self.process)

    def _get(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return answer.status

    def post(self, events: list[dict]) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/events",
            data=json.dumps(events).encode(),
            headers={"Content-Type": "application/json", "Authorization": "Bearer dev"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code}: {error.read().decode()}") from error

    def stop(self):
        """Asks it to stop, and waits until it has drained."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=DEADLINE_SECONDS) == 0

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
