"""README.md, docs/ and CONTRIBUTING.md are true.

Each page is followed from an empty folder, by that page alone: its commands are run in order, in one shell, against a gateway
that is started as the page says (pages.py has the rules). docs/frontend.md goes on in a browser: js-client/test/browsers/docs.test.mjs.
"""

import json
import os
import re
import signal
import subprocess
import textwrap
from contextlib import contextmanager
from pathlib import Path

import picture
import pytest
import required
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from pages import NOT_TO_BE_HAD, RUN, RUN_AS_APPLICATIONS, SOURCES, Block, blocks, free_ports, normal, pages, with_ports

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
# What a page may use of the repository; all else in its folder it makes itself.
FROM_THE_REPOSITORY = ("Makefile", "schemas", "queries", "ops", "tests", "js-client", "clients", "examples",
                       "lakegate.example.toml", "openapi.yaml", ".venv")
# What a page builds there; npm does not install through a link, so it is built before.
BUILT = "js-client/dist/lakegate.js"
README_LINES_MAX = 150
PAGE_SECONDS_MAX = 150


def folder_of(page: Path, tmp_path_factory) -> Path:
    """A folder like a fresh checkout in which the program was built, and no gateway has run."""
    folder = tmp_path_factory.mktemp(page.stem)
    for name in FROM_THE_REPOSITORY:
        (folder / name).symlink_to(ROOT / name)
    if BUILT in page.read_text():
        subprocess.run(["make", "-s", BUILT], cwd=ROOT, check=True)
    # The program that is tested is where `make run` puts its own, so that a page that names another folder fails.
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("CARGO_TARGET_DIR", "MAKEFLAGS", "PROFILE")}
    recipe = subprocess.run(["make", "-n", RUN.split()[1]], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "cargo --locked build --profile quick" in recipe.stdout
    program = folder / re.search(r"exec (\S+) serve", recipe.stdout)[1]
    program.parent.mkdir(parents=True)
    program.symlink_to(binary())
    return folder


@contextmanager
def running(command: list[str], folder: Path, environment: dict):
    """A gateway in the foreground of a terminal of its own, from `ready` until Ctrl-C."""
    with (folder / "gateway.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)

    def is_ready():
        said = (folder / "gateway.log").read_text()
        assert process.poll() is None, said
        return '"message":"ready"' in said

    try:
        wait_until("the gateway is ready to receive", 900, is_ready)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def gateway_of(page: Path, folder: Path, environment: dict):
    """What `make run` starts; of the README by `make run` itself, which builds the program first."""
    environment = environment | {"LAKEGATE__DATA_DIR": str(folder / "data"), "LAKEGATE__LAKE__FLUSH_AGE_MS": "5000"}
    if page == README:
        # The program that is shipped takes longer to build than all the other tests; LAKEGATE_DOCS_PROFILE=quick does it. Else it
        # is the one that all tests have, which is there.
        profile = os.environ.get("LAKEGATE_DOCS_PROFILE")
        options = [f"PROFILE={profile}"] if profile else ["PROFILE=dev", "BUILD=test -x $(BIN)"]
        return running([*RUN.split(), *options], folder, environment)
    return running([str(binary()), "serve"], folder, environment)


def follow(shown: list[Block], folder: Path, environment: dict, ports: dict) -> list[tuple[Block, str, int]]:
    """Runs the page in one shell; for each of its commands what was printed, and the exit code."""
    script, steps = "set -uo pipefail\n", []
    for block in shown:
        body = with_ports(block.body, ports)
        if block.file:
            (folder / block.file).write_text(body)
        elif block.is_run and not block.missing_tool:
            script += f'{body}\nstatus=$?; echo; echo "<<<step {len(steps)} ended with $status"\n'
            steps.append(block)
    # In a session of its own, so that what it leaves running can be ended with it. That keeps the output open, so it is a file.
    with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
        shell = subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment, start_new_session=True, stdout=stdout, stderr=stderr)
    try:
        shell.wait(PAGE_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pytest.fail("\n".join((folder / name).read_text() for name in ("stdout", "stderr", "gateway.log") if (folder / name).exists()))
    finally:
        try:
            os.killpg(shell.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    printed = (folder / "stdout").read_text()
    parts = re.split(r"<<<step \d+ ended with (\d+)\n", printed)
    assert len(parts) == 2 * len(steps) + 1, printed + (folder / "stderr").read_text()
    return [(block, parts[2 * index], int(parts[2 * index + 1])) for index, block in enumerate(steps)]


@PAGES
def test_only_what_can_be_tested_is_shown(page):
    shown = blocks(page)
    assert {block.kind for block in shown} <= {"sh", "toml", "mermaid"} | SOURCES
    commands = [block.body for block in shown if block.kind == "sh"]
    assert RUN not in [body.strip() for body in commands[1:]], "the gateway is started first"
    for block in shown:
        if block.kind in SOURCES:
            file = block.quoted_file or block.file
            assert file, f"no comment names the file of:\n{block.body}"
            if not file.startswith(RUN_AS_APPLICATIONS):
                assert any(file in body for body in commands), f"{file} is not used"
        if block.quoted_file:
            whole, quote = (ROOT / block.quoted_file).read_text(), block.quote
            # Out of a class it is indented.
            assert quote in whole or textwrap.indent(quote, "    ") in whole, f"{block.quoted_file} says something else than:\n{quote}"


@PAGES
def test_its_commands_do_what_it_says(page, tmp_path_factory):
    shown, folder, ports = blocks(page), folder_of(page, tmp_path_factory), free_ports()
    environment = ENVIRONMENT | {
        "LAKEGATE__HTTP__LISTEN": f"127.0.0.1:{ports['8443']}", "LAKEGATE__ADMIN__LISTEN": f"127.0.0.1:{ports['9090']}",
    }
    # Only what the page itself sets may count in its shell, but for the ports.
    if any(block.body.strip() == RUN for block in shown):
        with gateway_of(page, folder, environment):
            done = follow(shown, folder, environment, ports)
    else:
        done = follow(shown, folder, environment, ports)
    complaints = (folder / "stderr").read_text()
    for block, printed, status in done:
        assert status == 0, f"{block.body}\n{printed}\n{complaints}"
        assert printed.strip(), f"prints nothing: {block.body}\n{complaints}"
        expected = with_ports(block.output, ports)
        if block.output_kind == "json":
            assert json.loads(normal(printed)) == json.loads(normal(expected)), block.body
        elif block.output_kind == "text":
            assert normal(printed) == normal(expected), block.body
    not_run = sorted({block.missing_tool for block in shown if block.kind == "sh" and block.missing_tool} - NOT_TO_BE_HAD)
    if not_run:
        required.cannot_run(f"all other commands of the page are right, but there is no {', '.join(not_run)} here: tests/install-programs")


CONFIGURATIONS = [(page, block.body) for page in pages() for block in blocks(page) if block.kind == "toml"]


@pytest.mark.parametrize("page, body", CONFIGURATIONS, ids=[page.name for page, _ in CONFIGURATIONS])
def test_its_configurations_are_valid(page, body, tmp_path):
    file = tmp_path / "lakegate.toml"
    file.write_text(body)
    checked = subprocess.run([binary(), "config", "check", "--config", file], env=ENVIRONMENT, capture_output=True, text=True)
    if "this build has no s3" in checked.stderr:
        required.cannot_run("LAKEGATE_BIN is a build without S3")
    if "this build has no Kafka" in checked.stderr:
        required.cannot_run("LAKEGATE_BIN is a build without Kafka")
    assert checked.returncode == 0, checked.stderr


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*pages(), CONTRIBUTING, ROOT / "SECURITY.md", ROOT / "schemas/README.md", ROOT / "js-client/README.md",
                                  ROOT / "clients/python/README.md"],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{target} is not there"
        if anchor and to.suffix == ".md":
            assert anchor in anchors(to), f"{target}: no such heading"


def test_the_readme_is_short():
    lines = len(README.read_text().splitlines())
    assert lines <= README_LINES_MAX, f"{lines} lines; what is for one reader only belongs in docs/"


def test_the_picture_shows_what_the_readme_says():
    assert picture.PICTURE.read_text() == picture.draw(), "`python tests/acceptance/picture.py` draws it again"


def test_every_page_is_linked_from_the_readme():
    text = README.read_text()
    for page in [*pages()[1:], CONTRIBUTING]:
        assert f"({page.relative_to(ROOT)}" in text, f"the README does not link {page.name}"


def test_the_map_of_the_source_names_every_module():
    text = CONTRIBUTING.read_text().split("## The map of the source")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `src/(\w+)`", text, re.MULTILINE))
    modules = set(re.findall(r"^pub mod (\w+);", (ROOT / "src/lib.rs").read_text(), re.MULTILINE))
    assert named == modules


def test_the_files_and_targets_that_contributing_names_exist():
    text = CONTRIBUTING.read_text()
    files = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text))
    # A name with a slash is a path. One without is a path where it has an extension.
    paths = {file for file in files if "/" in file or re.search(r"\.(rs|md|toml|yaml|ts|mjs|py|json|sql|sh)$", file)}
    assert paths, "no file is named"
    for path in paths:
        there = ROOT / path
        assert there.exists() or there.with_suffix(".rs").exists(), f"{path} is not there"
    targets = set(re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert target in targets, f"make {target} is no target"
