"""README.md is true: its commands are run, in order, in one shell, against a gateway that `make run` started.

A ```sh block is run; a ```json or ```text block right behind it is its output; a ```toml block is a configuration. Nothing
else may be shown, so that nothing can go stale.
"""

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from gateway import ENVIRONMENT, ROOT, binary, wait_until

# The two commands that are not run as they stand: the one runs before all others, the other is what runs this.
RUN, TEST = "make run", "make test"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n```") == 2 * len(BLOCK.findall(text)), "a block that is not closed"
    return BLOCK.findall(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """`make run` in this checkout, with its data in a folder of its own; and a shell in that folder."""
    folder = tmp_path_factory.mktemp("readme")
    ports = {"8443": str(free_port()), "9090": str(free_port())}
    for name in ("Makefile", "schemas", "lakegate.example.toml", "tests", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    # The program that is tested here stands where `make run` puts the one that is shipped.
    for profile in ("quick", "release"):
        (folder / "target" / profile).mkdir(parents=True)
        (folder / "target" / profile / "lakegate").symlink_to(binary())
    environment = ENVIRONMENT | {
        "LAKEGATE__HTTP__LISTEN": f"127.0.0.1:{ports['8443']}",
        "LAKEGATE__ADMIN__LISTEN": f"127.0.0.1:{ports['9090']}",
        "LAKEGATE__DATA_DIR": str(folder / "data"),
    }
    log = (folder / "make-run.log").open("w")
    # The release build would take longer than all the other tests; LAKEGATE_README_PROFILE=release does it.
    command = [*RUN.split(), f"PROFILE={os.environ.get('LAKEGATE_README_PROFILE', 'dev')}"]
    # In a session of its own, so that Ctrl-C reaches make and the gateway, as on a terminal.
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)

    def is_ready():
        said = Path(log.name).read_text()
        assert process.poll() is None, said
        return '"message":"ready"' in said

    wait_until("`make run` is ready to receive", 900, is_ready)
    yield folder, ports
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    log.close()


def normal(text: str) -> str:
    """Without what is another each time: times and dates, request ids, files and sizes, and the width of columns."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    text = re.sub(r"\b(\d{4}-\d\d-\d\d|late)\b", "<date>", text)
    text = re.sub(r'("request_id": ?)"[^"]*"', r'\1"<id>"', text)
    # How many files there are depends on how fast one types.
    text = re.sub(r"^(\S+ +<date>) +\d+( +\d+) +\d+( +<time>)", r"\1 <files>\2 <bytes>\3", text, flags=re.MULTILINE)
    return re.sub(r"[ \t]+", " ", text).strip()


def test_only_what_can_be_tested_is_shown():
    kinds = [kind for kind, _ in blocks()]
    assert set(kinds) == {"sh", "json", "text", "toml"}
    for before, kind in zip(kinds, kinds[1:]):
        assert kind in ("sh", "toml") or before == "sh", f"a {kind} block that is no command's output"
    commands = [body.strip() for kind, body in blocks() if kind == "sh"]
    assert commands[:2] == [RUN, TEST]


def test_the_commands_do_what_is_said(session):
    folder, ports = session
    shown = blocks()
    commands = [(body, *shown[index + 1]) if index + 1 < len(shown) else (body, "", "")
                for index, (kind, body) in enumerate(shown) if kind == "sh" and body.strip() not in (RUN, TEST)]
    # One shell for all; behind each block a line that says where it ended, and how.
    script = "set -uo pipefail\n"
    for index, (command, _, _) in enumerate(commands):
        script += f"{command}\nstatus=$?; echo; echo \"<<<block {index} ended with $status\"\n"
    for port, mine in ports.items():
        script = script.replace(f"localhost:{port}", f"localhost:{mine}")
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    outputs = re.split(r"<<<block (\d+) ended with (\d+)\n", done.stdout)
    assert len(outputs) == 3 * len(commands) + 1, done.stdout + done.stderr
    for index, (command, kind, expected) in enumerate(commands):
        output, status = outputs[3 * index], outputs[3 * index + 2]
        assert status == "0", f"{command}\n{output}\n{done.stderr}"
        assert output.strip(), f"says nothing: {command}\n{done.stderr}"
        if kind == "json":
            assert json.loads(normal(output)) == json.loads(normal(expected)), command
        elif kind == "text":
            assert normal(output) == normal(expected), command


def test_the_configuration_is_one(tmp_path):
    for kind, body in blocks():
        if kind == "toml":
            file = tmp_path / "lakegate.toml"
            file.write_text(body)
            checked = subprocess.run([binary(), "config", "check", "--config", file], env=ENVIRONMENT, capture_output=True, text=True)
            assert checked.returncode == 0, checked.stderr


def test_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in headings, anchor


def test_the_map_of_the_source_names_every_module():
    text = (ROOT / "README.md").read_text().split("## The source")[1]
    named = set(re.findall(r"`(\w+)`", text.split("\n\n")[2]))
    modules = set(re.findall(r"^pub mod (\w+);", (ROOT / "src/lib.rs").read_text(), re.MULTILINE))
    assert named == modules
