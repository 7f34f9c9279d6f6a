"""What the tests of the deployment share. `make deploy-tests` runs them, in a Python environment of their own."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "acceptance")]

from gateway import ROOT  # noqa: E402
from kinesis_servers import MiniStack  # noqa: E402
from rig import Workspace  # noqa: E402


class OtherMiniStack(MiniStack):
    """The MiniStack of the acceptance tests, which is installed in their environment."""

    def command(self) -> list[str]:
        return [str(ROOT / ".venv" / "bin" / "ministack")]

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PATH": f"{ROOT}/.venv/bin:/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture(scope="session")
def ministack(tmp_path_factory):
    server = OtherMiniStack(tmp_path_factory.mktemp("ministack"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A workspace in which nothing is applied."""
    made = Workspace(tmp_path_factory.mktemp("shared"))
    made.init()
    yield made
    made.stop()


@pytest.fixture
def workspaces(tmp_path):
    """Makes workspaces, and stops their providers when the test is over."""
    made = []

    def make(cloud=None) -> Workspace:
        folder = tmp_path / f"w{len(made)}"
        folder.mkdir()
        made.append(Workspace(folder, cloud))
        made[-1].init()
        return made[-1]

    yield make
    for workspace in made:
        workspace.stop()


def pytest_terminal_summary(terminalreporter):
    """The table of the seeded faults."""
    passed = terminalreporter.stats.get("passed", [])
    rows = sorted(value for report in passed for name, value in getattr(report, "user_properties", []) if name == "caught")
    if rows:
        terminalreporter.section("seeded faults, caught by")
        for row in rows:
            terminalreporter.write_line(row)
