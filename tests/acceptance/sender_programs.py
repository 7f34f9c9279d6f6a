"""The programs that send: the examples of docs/backend.md, and how each is built and run. What is missing here is said by required.py."""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gateway import ENVIRONMENT, ROOT

EXAMPLES = ROOT / "examples/send"
# Debian's Gson (libgoogle-gson-java), which the example in Java reads answers with.
GSON = Path("/usr/share/java/gson.jar")
# Those of the example in C#, with their packages.
MONO_LIBRARIES = {
    "/usr/lib/mono/4.5/System.Net.Http.dll": "libmono-system-net-http4.0-cil",
    "/usr/lib/mono/4.5/System.Runtime.Serialization.dll": "libmono-system-runtime-serialization4.0-cil",
}
# How the examples spell how many events they send at a time, and how often they try.
LIMITS = re.compile(r"(BATCH, TRIES = |BATCH = |batch, tries = )500(, |, TRIES = )10")
BUILD_SECONDS_MAX = 120


@dataclass(frozen=True)
class Language:
    name: str
    example: str
    # What must be here to build and run it, and the Debian package that brings it.
    tools: dict[str, str]

    @property
    def missing(self) -> str | None:
        """What is not on this machine, and where it is to be had."""
        for tool, package in self.tools.items():
            if not (Path(tool).exists() if tool.startswith("/") else shutil.which(tool)):
                return f"no {tool} here: tests/install-programs installs {package}"
        return None


LANGUAGES = [
    Language("Python", "send.py", {"python3": "python3"}),
    Language("Go", "send.go", {"go": "golang-go"}),
    Language("Java", "Send.java", {"javac": "default-jdk-headless", str(GSON): "libgoogle-gson-java"}),
    # .NET 8 is not in Debian. Mono compiles the same source, and has the same classes.
    Language("C#", "Send.cs", {"mcs": "mono-mcs", "mono": "mono-runtime", **MONO_LIBRARIES}),
    Language("Ruby", "send.rb", {"ruby": "ruby"}),
    Language("PHP", "send.php", {"php": "php-cli and php-curl"}),
]


def run(command: list, folder: Path):
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT | {"GOCACHE": str(folder / "go"), "GOTOOLCHAIN": "local"},
                          capture_output=True, text=True, timeout=BUILD_SECONDS_MAX)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def build(source: Path, folder: Path) -> list[str]:
    """Builds `source` in `folder`, where its language is compiled. Gives the command that runs it."""
    if source.suffix == ".go":
        run(["go", "build", "-o", source.stem, source], folder)
        return [str(folder / source.stem)]
    if source.suffix == ".java":
        run(["javac", "-cp", GSON, "-d", ".", source], folder)
        return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{GSON}:{folder}", source.stem]
    if source.suffix == ".cs":
        run(["mcs", *(f"-r:{library}" for library in MONO_LIBRARIES), f"-out:{source.stem}.exe", source], folder)
        return ["mono", str(folder / f"{source.stem}.exe")]
    return [{".py": sys.executable, ".rb": "ruby", ".php": "php", ".mjs": "node"}[source.suffix], str(source)]


def build_example(language: Language, folder: Path, batch: int = 500, tries: int = 10) -> list[str]:
    """Builds an example, with other limits than it has if wanted."""
    folder.mkdir(parents=True)
    source = folder / language.example
    text, found = LIMITS.subn(rf"\g<1>{batch}\g<2>{tries}", (EXAMPLES / language.example).read_text())
    assert found == 1, f"{language.example} does not spell its limits as the other examples do"
    source.write_text(text)
    return build(source, folder)


@dataclass
class Sent:
    """What a sender said and how it ended."""

    code: int
    stdout: str
    stderr: str


def send(command: list[str], url: str, events: str, seconds_max: float, key="dev", more=None) -> Sent:
    environment = ENVIRONMENT | {"LAKEGATE_URL": url, "LAKEGATE_KEY": key} | (more or {})
    # In a folder of its own, because a program that crashes may leave a report there.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, input=events, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds_max)
    return Sent(done.returncode, done.stdout, done.stderr)
