"""examples/testing/pytest: a service's own tests pass with `lakegate dev`, and fail when its tracking breaks. The wheel is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from gateway import binary
from test_package import wheel

SAMPLE = ROOT / "examples/testing/pytest"


class Service:
    """A copy of the sample, and the environment in which the wheel is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "service"
        shutil.copytree(SAMPLE, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / "schemas").symlink_to(ROOT / "schemas")
        site = folder / "site"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", site, wheel()]
        subprocess.run(command, check=True)
        # The plug-in is found by the entry point of the package that is installed.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEGATE_", "PYTEST_"))}
        self.environment = kept | {"PYTHONPATH": str(site), "LAKEGATE_BIN": str(binary()), "PYTHONDONTWRITEBYTECODE": "1"}

    def test(self, *before: object) -> "subprocess.CompletedProcess[str]":
        command = [*before, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120)

    def breaks(self, old: str, new: str) -> str:
        file = self.folder / "orders.py"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        done = self.test()
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path)


def test_it_passes_with_a_rig_that_the_fixture_starts(service):
    done = service.test()
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


def test_it_passes_with_the_rig_that_runs_it(service):
    service.environment["LAKEGATE_BIN"] = "nowhere"
    done = service.test(binary(), "dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


def test_it_fails_when_an_order_has_no_price_any_more(service):
    said = service.breaks('price_minor=price_minor, currency="EUR", ', "")
    assert re.search(r"menu:item:ordered accepted where .*price_minor.*: expected once within 5 s, came never", said), said
    assert "came: menu:item:ordered accepted, once" in said


def test_it_fails_when_the_event_is_wrong_and_says_where(service):
    said = service.breaks("item_index=0", 'item_index="first"')
    assert "rejected: menu:item:ordered: schema_violation at /item_index: expected an integer" in said, said
