"""Clients that generators make of openapi.yaml, as it is, see what a gateway answers: all four counts, and `results`.

Each is generated, compiled, and run against a real gateway; its program is in openapi_clients/. Of C# only the source is looked at,
because no compiler of today's C# comes from Debian, PyPI or npm."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest
import required
from events import event, text
from gateway import ENVIRONMENT, ROOT, Gateway

PROGRAMS = ROOT / "tests/acceptance/openapi_clients"
NODE_MODULES = PROGRAMS / "node_modules"
# Sources alone: no pages about them, no tests of them.
BRIEF = {"apiDocs": "false", "modelDocs": "false", "apiTests": "false", "modelTests": "false"}
# By folder: what openapi-generator is told beside its name and openapi.yaml. All but the names of packages is in docs/backend.md.
OPENAPI_GENERATOR = {
    "python": {"additionalProperties": {"packageName": "lakegate_generated"}},
    "go": {"gitHost": "lakegate.example", "gitUserId": "generated", "gitRepoId": "client", "additionalProperties": {"packageName": "lakegate"}},
    "java": {"library": "native", "additionalProperties": {"openApiNullable": False}},
    "csharp": {},
    "typescript-fetch": {"additionalProperties": {"modelPropertyNaming": "original"}},
}
# The annotation that generated Java has on its classes; it is not in the JDK, and does nothing.
GENERATED_JAVA = "package javax.annotation;\npublic @interface Generated { String[] value(); String date() default \"\"; String comments() default \"\"; }\n"
# A spool at its smallest, and a sink that takes nothing before an hour has passed.
SMALL = "[spool]\nsegment_bytes = 4194304\nquota_bytes = 8388608\n[lake]\nflush_age_ms = 3600000\n[schemas]\nunknown_events = \"accept\"\n"
BAD = {"section_index": "0"}


def run(command: list, folder: Path, **environment) -> str:
    done = subprocess.run([str(part) for part in command], cwd=folder, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6_000:]}\n{done.stderr[-6_000:]}"
    return done.stdout


def jar() -> Path:
    required.module("openapi_generator_cli")
    return Path(str(resources.files("openapi_generator_cli") / "openapi-generator.jar"))


class Clients:
    """The generated sources, a folder for each generator, and how their programs are compiled and called."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.java = required.program("java", "openapi-generator runs in it")
        required.module("openapi_python_client")
        self.node = required.program("node", "the clients in TypeScript run in it")
        if not (NODE_MODULES / ".package-lock.json").exists():
            required.cannot_run("no openapi-typescript here: `make generators` installs it")
        with ThreadPoolExecutor() as pool:
            for made in [pool.submit(make) for make in (self.by_openapi_generator, self.by_openapi_python_client, self.by_openapi_typescript)]:
                made.result()

    def by_openapi_generator(self):
        """All languages in one Java machine."""
        configurations = []
        for name, options in OPENAPI_GENERATOR.items():
            file = self.folder / f"{name}.json"
            common = {"generatorName": name, "inputSpec": str(ROOT / "openapi.yaml"), "outputDir": str(self.folder / name), "globalProperties": BRIEF}
            file.write_text(json.dumps(common | options))
            configurations.append(file)
        said = run([self.java, "-jar", jar(), "batch", "--fail-fast", "--threads", "2", *configurations], self.folder)
        assert "[SUCCESS]" in said and " WARN " not in said, said

    def by_openapi_python_client(self):
        (self.folder / "attrs.yaml").write_text("post_hooks: []\n")
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", ROOT / "openapi.yaml", "--meta", "none"]
        run([*command, "--output-path", self.folder / "attrs/lakegate_attrs", "--config", self.folder / "attrs.yaml"], self.folder)

    def by_openapi_typescript(self):
        (self.folder / "typescript").mkdir()
        (self.folder / "typescript/node_modules").symlink_to(NODE_MODULES)
        run([NODE_MODULES / ".bin/openapi-typescript", ROOT / "openapi.yaml", "--output", self.folder / "typescript/types.ts"], self.folder)

    # ---- what sends: a command, to which the jobs are added

    def python_openapi_generator(self) -> list:
        return [sys.executable, PROGRAMS / "with_pydantic.py"]

    def python_openapi_python_client(self) -> list:
        return [sys.executable, PROGRAMS / "with_attrs.py"]

    def go(self) -> list:
        go = required.program("go", "tests/install-programs installs it, where that is allowed")
        folder = self.folder / "go/send"
        folder.mkdir()
        (folder / "send.go").write_text((PROGRAMS / "send.go").read_text())
        # Nothing is fetched: the client needs the standard library alone.
        run([go, "build", "-o", "program", "."], folder, GOFLAGS="-mod=mod", GOPROXY="off", GOSUMDB="off", GOCACHE=str(self.folder / "go-cache"))
        return [folder / "program"]

    def java_native(self) -> list:
        javac = required.program("javac", "a JDK compiles the client in Java")
        classes, annotation = self.folder / "classes", self.folder / "Generated.java"
        annotation.write_text(GENERATED_JAVA)
        sources = sorted((self.folder / "java/src/main/java").rglob("*.java"))
        # Jackson, the client's one dependency, is in the generator's own archive.
        run([javac, "-nowarn", "-proc:none", "-d", classes, "-cp", jar(), annotation, PROGRAMS / "Send.java", *sources], self.folder)
        return [self.java, "-cp", f"{classes}{os.pathsep}{jar()}", "Send"]

    def typescript_fetch(self) -> list:
        return self.typescript("with_fetch", sources=self.folder / "typescript-fetch")

    def typescript_openapi_typescript(self) -> list:
        return self.typescript("with_types")

    def typescript(self, program: str, sources: Path | None = None) -> list:
        folder = self.folder / "typescript"
        (folder / f"{program}.ts").write_text((PROGRAMS / f"{program}.ts").read_text())
        if sources:
            (folder / "typescript-fetch").symlink_to(sources)
        options = ["--strict", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10", "--ignoreDeprecations", "5.0"]
        options += ["--esModuleInterop", "--skipLibCheck", "--types", "node", "--preserveSymlinks"]
        run([NODE_MODULES / ".bin/tsc", *options, "--outDir", f"{program}.out", f"{program}.ts"], folder)
        return [self.node, f"{program}.out/{program}.js"]

    def send(self, command: list, jobs: list[dict]) -> list[dict]:
        folders = [self.folder / "python", self.folder / "attrs"]
        said = run([*command, json.dumps(jobs)], self.folder / "typescript", PYTHONPATH=os.pathsep.join(map(str, folders)))
        return json.loads(said)


KINDS = [
    Clients.python_openapi_generator, Clients.python_openapi_python_client, Clients.go, Clients.java_native, Clients.typescript_fetch,
    Clients.typescript_openapi_typescript,
]


@pytest.fixture(scope="module")
def clients(tmp_path_factory) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def send(request, clients):
    """One client, compiled."""
    command = request.param(clients)
    return lambda jobs: clients.send(command, jobs)


@pytest.fixture(scope="module")
def quiet(gateways) -> Gateway:
    return gateways(plaintext=True)


@pytest.fixture(scope="module")
def full(gateways) -> Gateway:
    """A gateway whose spool takes no more: good events are `retry`."""
    gateway = gateways(config=SMALL, plaintext=True)
    # Ever smaller ones, until not even one small event finds room.
    for filler in (100_000, 5_000, 500, 0):
        for _ in range(1_000):
            if gateway.post(text([event(event_name="of:a:test", filler="x" * filler)])).status == 503:
                break
        else:
            pytest.fail("the spool never was full")
    return gateway


def job(gateway: Gateway, events: list[dict], prefer="") -> dict:
    return {"url": gateway.url, "prefer": prefer, "events": events}


def row(index: int, sent: dict, status: str, code=None, pointer=None) -> list:
    return [index, sent["event_uuid"], status, code, pointer]


def rejected(index: int, sent: dict) -> list:
    return row(index, sent, "rejected", "schema_violation", "/section_index")


def seen(answer: dict) -> tuple:
    """The status, the four counts and the results, as a client saw them."""
    counts = tuple(answer[name] for name in ("accepted", "duplicates", "rejected", "retry"))
    assert answer.get("truncated") is None, "nothing was left out"
    return answer["status"], counts, [[*result, None, None][:5] for result in answer["results"]]


def test_a_client_sees_what_became_of_each_event(send, quiet):
    good, other, bad, worse = event(), event(), event(**BAD), event(**BAD)
    answers = send([job(quiet, [good]), job(quiet, [good]), job(quiet, [other, bad]), job(quiet, [bad, worse])])
    assert [seen(answer) for answer in answers] == [
        (202, (1, 0, 0, 0), []),
        (202, (0, 1, 0, 0), [row(0, good, "duplicate")]),
        (207, (1, 0, 1, 0), [rejected(1, bad)]),
        (422, (0, 0, 2, 0), [rejected(0, bad), rejected(1, worse)]),
    ]


def test_a_client_sends_an_event_as_it_was_made(send, quiet):
    """Also what openapi.yaml does not name: the fields of its type. The time is a number, or text; rejected events can be read."""
    sent = [event(**BAD), event(**BAD, created_at=1795029612), event(**BAD, created_at="2026-11-18T14:32:24.120Z")]
    sent.append(event(**BAD, nested={"eventUuid": [1, None, {"a_b": "ü"}]}, schema_version=1))
    (answer,) = send([job(quiet, sent)])
    assert (answer["status"], answer["rejected"]) == (422, len(sent))
    letters = {letter["event_uuid"]: json.loads(letter["raw"]) for letter in quiet.dead_letters()}
    assert [letters[one["event_uuid"]] for one in sent] == sent


def test_a_client_sees_what_must_be_sent_again(send, full):
    first, second, bad = event(), event(), event(**BAD)
    answers = send([job(full, [first, second]), job(full, [bad, first])])
    assert [seen(answer) for answer in answers] == [
        (503, (0, 0, 0, 2), [row(0, first, "retry", "quota_full"), row(1, second, "retry", "quota_full")]),
        (207, (0, 0, 1, 1), [rejected(0, bad), row(1, first, "retry", "quota_full")]),
    ]


def test_a_client_sees_a_whole_answer(send, quiet, full):
    good, bad = event(), event(**BAD)
    answers = send([job(quiet, [good, bad], "answers=whole"), job(full, [bad, good], "answers=whole")])
    assert [seen(answer) for answer in answers] == [
        (200, (1, 0, 1, 0), [rejected(1, bad)]),
        (503, (0, 0, 1, 1), [rejected(0, bad), row(1, good, "retry", "quota_full")]),
    ]


def test_a_client_in_csharp_has_every_answer_with_its_members(clients):
    """No compiler: the declarations are read."""
    source = clients.folder / "csharp/src/Org.OpenAPITools"
    assert source.is_dir()

    def members(model: str) -> dict:
        text = (source / f"Model/{model}.cs").read_text()
        return {name: kind for kind, name in re.findall(r"^ +public ([\w<>?]+) (\w+) \{", text, re.MULTILINE)}

    counts = dict.fromkeys(("Accepted", "Duplicates", "Rejected", "Retry"), "int")
    assert (counts | {"Results": "List<Result>", "ResultsTruncated": "bool?"}).items() <= members("Answer").items(), members("Answer")
    problem = {name: f"{kind}?" for name, kind in (counts | {"Results": "List<Result>"}).items()} | {"Code": "string", "Status": "int"}
    assert problem.items() <= members("Problem").items(), members("Problem")
    assert {"Index": "int", "EventUuid": "string?", "Status": "string", "Error": "ResultError?"}.items() <= members("Result").items()
    assert {"Code": "string", "Detail": "string", "Pointer": "string?"}.items() <= members("ResultError").items()
    api = (source / "Api/EventsApi.cs").read_text()
    found = dict(re.findall(r"bool (Try\w+)\(\[NotNullWhen\(true\)\]out Org\.OpenAPITools\.Model\.(\w+)\? result\)", api))
    answers = {"TryOk": "Answer", "TryAccepted": "Answer", "TryMultiStatus": "Answer", "TryUnprocessableContent": "Problem", "TryServiceUnavailable": "Problem"}
    assert answers.items() <= found.items(), found
    assert re.search(r"PostEventsAsync\(List<Event> ", api), "an array of events is sent"
