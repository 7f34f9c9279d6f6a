"""docs/runbooks/: a page for each alert, linked from it; its commands are run against a gateway."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from events import event, text
from gateway import ENVIRONMENT, ROOT, Gateway, binary, wait_until

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(page for page in RUNBOOKS.glob("*.md") if page.name != "README.md")
KEYS = '[[keys]]\nname = "dev"\nsecret_sha256 = "ef260e9aa3c673af240d17a2660480361a8e081d1ffeca2a5ed0e3219fc18567"\n'


def alerts() -> dict[str, dict]:
    groups = yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_every_alert_names_its_page_and_every_page_has_its_alert():
    assert {page.stem for page in PAGES} == set(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    listed = re.findall(r"^\| \[(\w+)\]\(\1\.md\)", (RUNBOOKS / "README.md").read_text(), re.M)
    assert sorted(listed) == sorted(alerts())


def test_every_link_of_the_pages_leads_somewhere():
    for page in [*PAGES, RUNBOOKS / "README.md"]:
        for path, anchor in re.findall(r"\]\(([\w./-]+)(?:#([\w-]+))?\)", page.read_text()):
            target = (page.parent / path).resolve()
            assert target.exists(), f"{page.name}: {path}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in anchors, f"{page.name}: {path}#{anchor}"


def test_every_page_shows_the_metrics_that_its_alert_reads():
    for name, rule in alerts().items():
        shown = re.findall(r"grep -E '\^([^']+)'", (RUNBOOKS / f"{name}.md").read_text())
        for metric in set(re.findall(r"\b(?:lakegate|process)_\w+", rule["expr"])):
            # Of a histogram people read the sum and the count.
            line = metric.replace("_seconds_bucket", "_seconds_sum")
            assert any(re.match(pattern.split(".*")[0], line) for pattern in shown), f"{name}: {metric}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway with an event delivered and a dead letter, configured by a file."""
    folder = tmp_path_factory.mktemp("runbooks")
    started = Gateway(folder, config=KEYS + "[lake]\nflush_age_ms = 300\n").start()
    os.symlink(ROOT / "schemas", folder / "schemas")
    assert started.post(text([event(), event(section_index="first")])).counts == (1, 0, 1, 0)
    wait_until("it is delivered", 30, lambda: list((folder / "data/lake").rglob("*.parquet")))
    yield started
    started.stop()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_and_say_something(gateway, page: Path):
    [block] = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.M | re.S)
    environment = ENVIRONMENT | {
        "LAKEGATE_CONFIG": str(gateway.folder / "lakegate.toml"),
        "LAKEGATE__HTTP__LISTEN": f"127.0.0.1:{gateway.port}",
        "LAKEGATE__ADMIN__LISTEN": f"127.0.0.1:{gateway.admin_port}",
        "PATH": f"{binary().parent}:{os.environ['PATH']}",
    }
    for command in block.strip().splitlines():
        command = command.replace("localhost:9090", f"127.0.0.1:{gateway.admin_port}")
        ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=gateway.folder, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0 and ran.stdout + ran.stderr, f"{command}\n{ran.stdout}\n{ran.stderr}"
