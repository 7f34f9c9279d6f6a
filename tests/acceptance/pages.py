"""README.md and the pages of docs/: their blocks, and how a block becomes a step of a shell script.

- A ```sh block is run. A ```json or ```text block directly behind it is its output.
- A ```toml block is a configuration.
- A ```mermaid block is a diagram; it is drawn and not run.
- A block in another language begins with a comment that names its file. The file is written, and a later ```sh block uses it.
- Or the comment says from which file of examples/ the block is: `# from examples/send/send.py`. The block is a part of that file, word
  for word, and a later ```sh block runs it.

Nothing else may be shown, so that nothing can go stale.
"""

import contextlib
import random
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from gateway import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The comment that names the file of a block: `# send.py`, `// Send.java`, `-- question.sql`, `<!-- menu.html -->`.
FILE_NAME = re.compile(r"^(?:#|//|--|<!--) ([\w-]+\.\w+)")
# The comment that names the file that a block quotes.
QUOTED_FILE = re.compile(r"^(?:#|//) from (examples/[\w./-]+)\n")
OUTPUTS = {"json", "text"}
SOURCES = {"python", "go", "java", "csharp", "ruby", "php", "html", "sql", "js"}
# What blocks run that a machine may lack. Of .NET there is no Debian package; Mono runs its example (test_senders.py).
TOOLS = {"go", "keytool", "ruby", "php", "dotnet"}
NOT_TO_BE_HAD = {"dotnet"}
# Ports that pages name; each test gets free ones in their place.
PORTS = ("8443", "9090", "8080")
# The command that starts the gateway of a page. It is started beside the shell, before the first block.
RUN = "make run"
# Not run: `make test` is what runs this; `make demo` (js-client/test/browsers/demo.test.mjs) and a rig without a command (tests/it/dev.rs)
# serve until somebody ends them.
NOT_RUN = {RUN, "make test", "make demo", "lakegate dev --schemas schemas"}
# Quotes from here are run as the applications that they are: js-client/test/browsers/testing.test.mjs, clients/python/tests/test_testing.py.
RUN_AS_APPLICATIONS = "examples/testing/"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass
class Block:
    kind: str
    body: str
    # The output that is shown behind it, and its kind.
    output_kind: str = ""
    output: str = ""

    @property
    def file(self) -> str | None:
        """The file that a block in another language is written to."""
        named = FILE_NAME.match(self.body)
        return named[1] if named and self.kind in SOURCES else None

    @property
    def quoted_file(self) -> str | None:
        """The file of the repository that a block in another language is a part of."""
        named = QUOTED_FILE.match(self.body)
        return named[1] if named and self.kind in SOURCES else None

    @property
    def quote(self) -> str:
        """What it quotes, without the comment."""
        return QUOTED_FILE.sub("", self.body)

    @property
    def is_run(self) -> bool:
        return self.kind == "sh" and self.body.strip() not in NOT_RUN

    @property
    def missing_tool(self) -> str | None:
        """The toolchain of another language that the block runs, where this machine has none."""
        tool = self.body.split()[0]
        if tool in TOOLS and shutil.which(tool) is None:
            return tool
        # A library that is named in full.
        return next((path for path in re.findall(r"/usr/share/java/\S+\.jar", self.body) if not Path(path).exists()), None)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; outputs are with the commands that print them."""
    text = page.read_text()
    found = [Block(kind, body) for kind, body in BLOCK.findall(text)]
    assert text.count("\n```") == 2 * len(found), f"{page.name}: a block that is not closed"
    kept: list[Block] = []
    for block in found:
        if block.kind in OUTPUTS:
            assert kept and kept[-1].kind == "sh" and not kept[-1].output, f"{page.name}: an output of no command:\n{block.body}"
            kept[-1].output_kind, kept[-1].output = block.kind, block.body
        else:
            kept.append(block)
    return kept


def free_ports() -> dict[str, str]:
    """A free port for each port that pages name, below those that the system gives to outgoing connections."""
    ports: dict[str, str] = {}
    while len(ports) < len(PORTS):
        port = str(random.randrange(20_000, 32_000))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", int(port))):
            if port not in ports.values():
                ports[PORTS[len(ports)]] = port
    return ports


def with_ports(text: str, ports: dict[str, str]) -> str:
    for port, mine in ports.items():
        text = text.replace(f"localhost:{port}", f"localhost:{mine}").replace(f"http.server {port}", f"http.server {mine}")
    return text


def normal(text: str) -> str:
    """Without what differs from run to run: times and dates, random names, sizes, and the width of columns."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d\b", "<date>", text)
    text = re.sub(r'("request_id": ?)"[^"]*"', r'\1"<id>"', text)
    # How many files there are depends on how fast one types.
    text = re.sub(r"^(\S+ +<date>) +\d+( +\d+) +\d+( +<time>)", r"\1 <files>\2 <bytes>\3", text, flags=re.MULTILINE)
    text = re.sub(r"[─━]+", "─", text)
    return re.sub(r"[ \t]+", " ", text).strip()
