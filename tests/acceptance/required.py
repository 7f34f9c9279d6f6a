"""What a test needs and this machine has not: where everything is required, as in CI, the test fails; elsewhere it is skipped.

`LAKEGATE_REQUIRE_ALL=1` requires everything, and `=0` does not, also where `CI` is set. The tests in Rust have the same rule
(`cannot_run` in tests/it/support/mod.rs), and those in browsers (js-client/test/support/required.mjs).
"""

from __future__ import annotations

import importlib
import os
import shutil

import pytest


def everything_is_required() -> bool:
    for variable in ("LAKEGATE_REQUIRE_ALL", "CI"):
        if variable in os.environ:
            return os.environ[variable] not in ("", "0", "false")
    return False


def cannot_run(reason: str):
    """Ends the test, or, while a module is imported, all its tests."""
    if everything_is_required():
        pytest.fail(f"everything is required here: {reason}")
    pytest.skip(reason, allow_module_level=True)


def module(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        cannot_run(f"{name} is not installed: `make venv` does it")


def program(name: str, reason: str, path: str | None = None) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        cannot_run(f"no {name} here: {reason}")
    return found
