"""A gateway of one's own: the real program on free loopback ports, spoken to with the real curl."""

import base64
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import zstandard

ROOT = Path(__file__).resolve().parents[2]

# Everything here is on loopback; a proxy of the machine's must not come between.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.lower().endswith("_proxy") and not name.startswith("LAKEGATE_")} | {"no_proxy": "*"}

START_SECONDS_MAX = 30
# More than [stop] requests_seconds + drain_seconds.
STOP_SECONDS_MAX = 40


def binary() -> Path:
    """The program under test; `make` says where it is."""
    path = Path(os.environ.get("LAKEGATE_BIN", "target/debug/lakegate"))
    path = path if path.is_absolute() else ROOT / path
    assert path.exists(), f"{path} is not there: `make acceptance` builds it"
    return path


def unpacked(line: dict) -> list[dict]:
    """The dead letters of a line: itself, or those that are packed in it."""
    if "packed_letters" not in line:
        return [line]
    text = zstandard.ZstdDecompressor().decompress(base64.b64decode(line["zstd"]), max_output_size=line["unpacked_bytes"])
    letters = [json.loads(letter) for letter in text.splitlines()]
    assert len(letters) == line["packed_letters"]
    return letters


def wait_until(what, seconds: float, condition):
    """The first true value of `condition`, asked again and again for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what() if callable(what) else what}"
        time.sleep(0.05)


@dataclass
class Answer:
    """An HTTP answer as curl saw it."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes
    http_version: str
    # Whether the request, or the configuration of the gateway, asks for whole answers; and the request for a minimal one.
    may_be_whole: bool = False
    may_be_minimal: bool = False

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The problem's code; None where the answer is no problem."""
        return self.json().get("code") if self.headers.get("content-type") == "application/problem+json" else None

    @property
    def counts(self) -> tuple[int, int, int, int]:
        answer = self.json()
        return tuple(answer[name] for name in ("accepted", "duplicates", "rejected", "retry"))


class Gateway:
    """One running gateway. Every answer it gives is handed to `check`, whatever test asked for it."""

    def __init__(
        self, folder: Path, *, environment=None, config: str | None = None, plaintext=False, check=None,
        listen="127.0.0.1:0", own_group=False, schemas: Path = ROOT / "schemas", program: Path | None = None,
    ):
        # Another one than the program under test.
        self.program = program
        # In a process group of its own it does not see the terminal's Ctrl-C.
        self.own_group = own_group
        self.folder, self.data = folder, folder / "data"
        self.plaintext, self.check = plaintext, check or (lambda answer, admin: None)
        self.environment = ENVIRONMENT | (environment or {})
        # A key may ask for whole answers.
        self.keys_ask_for_whole = 'answers = "whole"' in (config or "")
        self.arguments = ["--listen", listen, "--admin", "127.0.0.1:0", "--data-dir", str(self.data)]
        self.arguments += ["--schemas", str(schemas)] + (["--plaintext"] if plaintext else [])
        if config is not None:
            file = folder / "lakegate.toml"
            file.write_text(config)
            self.arguments += ["--config", str(file)]
        self.log = folder / "stderr.log"
        self.process = None

    def start(self) -> "Gateway":
        with self.log.open("ab") as log:
            offset = self.log.stat().st_size
            command = [str(self.program or binary()), "serve", *self.arguments]
            group = 0 if self.own_group else None
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stderr=log, stdout=log, process_group=group
            )

        def messages():
            assert self.process.poll() is None, f"the gateway ended:\n{self.log.read_text()}"
            lines = [line for line in self.log.read_text()[offset:].splitlines(keepends=True) if line.endswith("\n")]
            found = [json.loads(line)["message"] for line in lines]
            return found if "ready" in found else None

        said = "\n".join(wait_until("ready", START_SECONDS_MAX, messages))
        self.port = int(re.search(r"events: POST https?://127\.0\.0\.1:(\d+)/v1/events", said)[1])
        self.admin_port = int(re.search(r"metrics: http://127\.0\.0\.1:(\d+)/metrics", said)[1])
        return self

    def stop(self) -> int | None:
        """Ends it as an operator would; by force only where that does not help."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    @property
    def url(self) -> str:
        return f"{'http' if self.plaintext else 'https'}://localhost:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.data / "tls" / "cert.pem"

    def curl(self, method: str, path: str, *, body: bytes | None = None, headers=None, admin=False, options=()) -> Answer:
        """One request. The key is `dev` unless `headers` says otherwise; a header that is None is not sent."""
        base = f"http://127.0.0.1:{self.admin_port}" if admin else self.url
        headers = {"X-Api-Key": "dev", "Content-Type": None, "Expect": None} | (headers or {})
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            head, got, sent = (Path(scratch, name) for name in ("head", "got", "sent"))
            command = ["curl", "-sS", "--max-time", "60", "--dump-header", str(head), "--output", str(got)]
            command += ["--head"] if method == "HEAD" else ["--request", method]
            command += [] if self.plaintext or admin else ["--cacert", str(self.certificate)]
            for name, value in headers.items():
                command += ["--header", f"{name}:" if value is None else f"{name}: {value}"]
            if body is not None:
                sent.write_bytes(body)
                command += ["--data-binary", f"@{sent}"]
            done = subprocess.run([*command, *options, base + path], env=ENVIRONMENT, capture_output=True, text=True)
            assert done.returncode == 0, f"curl {method} {path}: {done.stderr}"
            # The last block, should there be one of 100 Continue before it.
            block = head.read_text().replace("\r", "").strip().split("\n\n")[-1].split("\n")
            version, status = block[0].split()[:2]
            found = dict(line.split(":", 1) for line in block[1:])
            found = {name.lower(): value.strip() for name, value in found.items()}
            body = got.read_bytes() if got.exists() and method != "HEAD" else b""
        preferences = headers.get("Prefer") or ""
        answer = Answer(
            method, path, int(status), found, body, version, may_be_minimal="return=minimal" in preferences,
            may_be_whole=self.keys_ask_for_whole or "answers=whole" in preferences,
        )
        self.check(answer, admin)
        return answer

    def post(self, body: bytes | str, content_type="application/json", **headers) -> Answer:
        """POST /v1/events. Header names with `_` for `-`."""
        body = body.encode() if isinstance(body, str) else body
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.curl("POST", "/v1/events", body=body, headers={"Content-Type": content_type} | headers)

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by name and labels; without the label of its sink, the sum over the sinks."""
        text = self.curl("GET", "/metrics", admin=True).body.decode()
        found = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = re.sub(r'sink="[^"]*",?', "", name).replace("{}", "")
                found[name] = found.get(name, 0) + float(value)
        return found

    def dead_letters(self, source="dev") -> list[dict]:
        files = sorted((self.data / "dead-letters" / source).glob("*.ndjson"))
        lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
        return [letter for line in lines for letter in unpacked(line)]

    def lake(self, columns="*") -> list[dict]:
        """All rows of the lake, by way of DuckDB."""
        import duckdb

        if not list((self.data / "lake").glob("event_type=*/*/*.parquet")):
            return []
        files = f"{self.data}/lake/event_type=*/*/*.parquet"
        types = "{'event_type': VARCHAR, 'created_date': VARCHAR}"
        query = f"SELECT {columns} FROM read_parquet('{files}', hive_partitioning = true, hive_types = {types})"
        with duckdb.connect() as connection:
            found = connection.execute(query)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row)) for row in found.fetchall()]
