"""A gateway of one's own, and what it costs: processor, memory, disk."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
from pathlib import Path

from gateway import ROOT, Gateway

SCHEMAS = ROOT / "schemas"
STOP_SECONDS_MAX = 6
"""More than it has for its requests and to drain."""
DEAD_LETTERS = ("dead-letters", "rejected")
"""The folder of dead letters, as it is called and as it was."""
LOOK_SECONDS = 0.05


def configuration() -> str:
    """A browser key, a server key, and the key of the honest sender. Rates and limits are the defaults."""
    def key(name: str, more: str = "") -> str:
        return f'[[keys]]\nname = "{name}"\nsecret_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n{more}\n'
    browser = key("browser", 'kind = "browser"\nallowed_origins = ["https://menu.example"]')
    # Over plaintext the gateway limits client addresses only if it has a trusted proxy. This proxy does not exist, so that each
    # loopback address is a client.
    proxy = '[proxy]\ntrusted = ["192.0.2.1"]\n'
    return browser + key("server") + key("honest") + proxy + "[stop]\nrequests_seconds = 1\ndrain_seconds = 3\n"


def large_registry(folder: Path, names: int) -> Path:
    """The shipped schemas, and one of them under so many names more."""
    for file in SCHEMAS.rglob("*.json"):
        if not file.name.endswith(".examples.json"):
            copy = folder / file.relative_to(SCHEMAS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    schema = (SCHEMAS / "menu/item/viewed/1.json").read_bytes()
    for number in range(names):
        one = folder / f"menu/item/viewed-{number}"
        one.mkdir(parents=True)
        (one / "1.json").write_bytes(schema)
    return folder


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file below `folder`."""
    found, folders = {}, [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        found[entry.path] = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            pass
    return found


class Disk(threading.Thread):
    """Watches files grow. What is written and removed again counts too."""

    def __init__(self, data: Path):
        super().__init__(daemon=True)
        self.folders = {"spool": [data / "spool"], "letters": [data / name for name in DEAD_LETTERS]}
        self.most: dict[str, dict[str, int]] = {name: {} for name in self.folders}
        self.ended = threading.Event()
        self.look()
        self.before = self.bytes()

    def look(self) -> None:
        for name, folders in self.folders.items():
            most = self.most[name]
            for folder in folders:
                for file, size in sizes(folder).items():
                    most[file] = max(size, most.get(file, 0))

    def bytes(self) -> dict[str, int]:
        return {name: sum(files.values()) for name, files in self.most.items()}

    def run(self) -> None:
        while not self.ended.wait(LOOK_SECONDS):
            self.look()

    def grown(self) -> dict[str, int]:
        """Bytes by which spool and dead letters grew."""
        self.look()
        return {name: size - self.before[name] for name, size in self.bytes().items()}


class MeasuredGateway(Gateway):
    """The acceptance tests' gateway: a process of `binary`, with its data below `folder`, that says what it costs."""

    def __init__(self, binary: Path, folder: Path, *, is_tls: bool, schemas: Path):
        super().__init__(folder, config=configuration(), plaintext=not is_tls, schemas=schemas, program=binary.resolve())
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        self.clock = ~self.process.pid << 3 | 2

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far: what `/proc/PID/stat` says, in nanoseconds."""
        return time.clock_gettime(self.clock)

    def memory(self) -> tuple[int, int]:
        """Bytes resident now, and the most since `forget_memory`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024 for name in ("VmRSS", "VmHWM"))

    def forget_memory(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def folder_bytes(self, *names: str) -> int:
        return sum(sum(sizes(self.data / name).values()) for name in names)

    def stop(self) -> tuple[float, bool]:
        """Ends it, as an operator would, and says what it cost in all, and whether it ended in time."""
        if self.process is None or self.process.returncode is not None:
            return 0.0, False
        self.process.send_signal(signal.SIGTERM)
        deadline, in_time = time.monotonic() + STOP_SECONDS_MAX, True
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_utime + usage.ru_stime, in_time
            if in_time and time.monotonic() > deadline:
                in_time = False
                self.process.kill()
            time.sleep(0.005)
