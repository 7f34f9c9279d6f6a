"""The strict file system (strict_fs.cc), built, mounted, and told when the power goes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("strict_fs.cc")


class Unavailable(Exception):
    """This machine cannot run the file system; says why."""


class StrictDisk:
    """A mounted disk, empty at first."""

    def __init__(self):
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise Unavailable("/dev/fuse is not there, or not for this user")
        # Not below the caller's folder: a socket's path is short.
        self.folder = Path(tempfile.mkdtemp(prefix="power-cut-"))
        self.root, self.socket = self.folder / "disk", self.folder / "control"
        self.root.mkdir()
        self.process = None
        try:
            self._mount(self._build())
        except BaseException:
            self.close()
            raise

    def _build(self) -> Path:
        program = self.folder / "strict_fs"
        try:
            flags = ["pkg-config", "--cflags", "--libs", "fuse3"]
            flags = subprocess.run(flags, capture_output=True, text=True, check=True).stdout.split()
            command = ["g++", "-O2", "-std=c++17", str(SOURCE), *flags, "-lpthread", "-o", str(program)]
            subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError as error:
            raise Unavailable(f"{error.filename} is not installed") from error
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"{error.cmd[0]}: {error.stderr.strip() or error.stdout.strip()}") from error
        return program

    def _mount(self, program: Path):
        self.process = subprocess.Popen([program, self.root, self.socket], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while not os.path.ismount(self.root):
            if self.process.poll() is not None:
                raise Unavailable(f"it cannot be mounted: {self.process.stderr.read().strip()}")
            if time.monotonic() > deadline:
                raise Unavailable("it cannot be mounted")
            time.sleep(0.01)

    def tell(self, command: str) -> str:
        """Gives a command of strict_fs.cc, and answers the state."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.socket))
            control.sendall(f"{command}\n".encode())
            answer = control.makefile().readline().strip()
        assert answer.startswith(("dead", "alive")), f"{command}: {answer}"
        return answer

    def has_power(self) -> bool:
        return self.tell("state").startswith("alive")

    def last_change(self) -> str:
        """The change before which the power went."""
        return self.tell("state").split("at=", 1)[1]

    def close(self):
        if self.process is not None and self.process.poll() is None:
            try:
                self.tell("quit")
            except OSError:
                self.process.kill()
            self.process.wait()
        if os.path.ismount(self.root):
            subprocess.run(["umount", "--lazy", str(self.root)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
