"""`ops/build-release` with a program in place of cargo, which only says what it is asked to build."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gateway import ENVIRONMENT

CARGO = """#!/bin/sh
printf '%s\\n' "$RUSTFLAGS" "$*" >"{asked}"
"""


@dataclass(frozen=True)
class Asked:
    """What cargo is asked."""

    flags: list[str]
    arguments: list[str]
    # What the command prints for whoever started it.
    said: str

    @property
    def profile(self) -> Path | None:
        found = [Path(flag.partition("=")[2]) for flag in self.flags if flag.startswith("-Cprofile-use=")]
        return found[0] if found else None


def run(root: Path, scratch: Path, **environment: str) -> Asked:
    """Runs the command of the checkout `root`; it builds into `scratch`."""
    (programs := scratch / "programs").mkdir(exist_ok=True)
    asked = scratch / "asked"
    (programs / "cargo").write_text(CARGO.format(asked=asked))
    (programs / "cargo").chmod(0o755)
    settings = {"PATH": f"{programs}:{os.environ['PATH']}", "CARGO_TARGET_DIR": str(scratch / "target")} | environment
    done = subprocess.run([root / "ops/build-release"], env=ENVIRONMENT | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    flags, arguments = asked.read_text().splitlines()
    return Asked(flags.split(), arguments.split(), done.stderr)
