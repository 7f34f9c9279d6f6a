"""The fixture ``lakegate_rig`` for pytest: ``lakegate dev`` that is there already, or one for this run."""

import os
import shutil
import subprocess
import threading
from typing import IO, Iterator

import pytest

from .testing import Rig


@pytest.fixture(scope="session")
def lakegate_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the rig for operators: that in LAKEGATE_DEV, or that of one that is started for this run.

    It starts LAKEGATE_BIN, or ``lakegate``, in the folder of the tests, whose ``schemas`` it takes.
    """
    known = os.environ.get("LAKEGATE_DEV")
    if known:
        yield known
        return
    program = os.environ.get("LAKEGATE_BIN") or shutil.which("lakegate")
    if not program:
        pytest.fail("there is no `lakegate` on the PATH: install it, or set LAKEGATE_BIN, or LAKEGATE_DEV to a rig that runs")
    command = [program, "dev", "--no-open", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    path = tmp_path_factory.mktemp("lakegate") / "log"
    with path.open("w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        address = ""
        for line in process.stdout:
            if line.startswith("console"):
                address = line.split()[1].rstrip("/")
            if line.strip() == "ready":
                break
        else:
            pytest.fail(f"`lakegate dev` did not start: {path.read_text()}")
        # It prints each rejection: a pipe that nobody reads would stop it.
        threading.Thread(target=_copy, args=(process.stdout, log), daemon=True).start()
        yield address
        process.terminate()


def _copy(lines: IO[str], log: IO[str]) -> None:
    for line in lines:
        log.write(line)
        log.flush()


@pytest.fixture
def lakegate_rig(lakegate_dev: str) -> Iterator[Rig]:
    """The rig, empty and without faults."""
    rig = Rig(lakegate_dev)
    rig.reset()
    yield rig
    rig.reset()
