"""What was sent, what the gateway said of it, and whether that is true in the end.

The ledger has one entry for each event that was ever sent:

    accepted  an answer said `accepted` or `duplicate`: from then on the event must survive everything, and be in the lake once
    rejected  an answer said `rejected`: from then on its dead letter must survive everything
    retry     an answer said that it was not taken
    unknown   no whole answer came: it may be there or not, but never twice
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import random
import ssl
import subprocess
import threading
import time
import uuid
from pathlib import Path

ANSWER_SECONDS = 30


def new_event(rng: random.Random, is_valid: bool = True) -> tuple[str, bytes]:
    """An event of some size, sometimes of another day, as its identity and its bytes."""
    created = time.time() - rng.random() * 100
    if rng.random() < 0.1:
        created -= 86_400 * rng.randrange(1, 30)

    def identity() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))

    event = {
        "event_uuid": identity(),
        "event_name": "menu:section:reached",
        "created_at": round(created, 3),
        "session_id": identity(),
        "visit_id": identity(),
        "restaurant_id": "tasca",
        "menu_id": "dinner",
        "section_id": "reds",
        "section_index": rng.randrange(5) if is_valid else "no number",
    }
    if is_valid and rng.random() < 0.05:
        event["event_name"] = "blob:large"
        event["filler"] = f"{rng.getrandbits(64):016x}" * rng.choice([10, 300, 2_000, 12_000])
    return event["event_uuid"], json.dumps(event, separators=(",", ":")).encode()


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.bodies: dict[str, bytes] = {}
        self.valid: dict[str, bool] = {}
        self.state: dict[str, str] = {}
        self.accepted: list[str] = []
        """Identities in the order in which they were first acknowledged."""
        self.faults: list[str] = []

    def of(self, *states: str) -> list[str]:
        with self.lock:
            return [identity for identity, state in self.state.items() if state in states]

    def enter(self, identity: str, body: bytes, is_valid: bool):
        with self.lock:
            self.bodies.setdefault(identity, body)
            self.valid.setdefault(identity, is_valid)
            self.state.setdefault(identity, "unknown")

    def answered(self, sent: list[str], status: int, body: bytes, note: str):
        """Notes an answer to the events `sent`, in their order."""
        with self.lock:
            try:
                answer = json.loads(body)
            except ValueError:
                self.faults.append(f"{note}: status {status}, and no JSON: {body[:200]!r}")
                return
            if "results" not in answer:
                # Not one was looked at.
                if status not in (408, 429, 500, 503):
                    self.faults.append(f"{note}: status {status}: {body[:300]!r}")
                for identity in sent:
                    if self.state[identity] == "unknown":
                        self.state[identity] = "retry"
                return
            results = {result["index"]: result["status"] for result in answer["results"]}
            for index, identity in enumerate(sent):
                self._note(identity, results.get(index, "accepted"), note)

    def _note(self, identity: str, outcome: str, note: str):
        before = self.state[identity]
        if outcome == "accepted" and before == "accepted":
            self.faults.append(f"{note}: {identity} was acknowledged, and is accepted again: it was lost, or will be doubled")
        if outcome == "rejected" and self.valid[identity]:
            self.faults.append(f"{note}: {identity} is valid, and was rejected")
        if outcome in ("accepted", "duplicate"):
            if not self.valid[identity]:
                self.faults.append(f"{note}: {identity} is not valid, and was {outcome}")
            if before != "accepted":
                self.accepted.append(identity)
            self.state[identity] = "accepted"
        elif outcome == "rejected":
            self.state[identity] = "rejected"
        elif before == "unknown":
            self.state[identity] = "retry"

    def verdict(self, binary: Path, data: Path, lake: Path) -> list[str]:
        """What is wrong with what lies on the disk after all was delivered."""
        wrong = list(self.faults)
        rows: collections.Counter[str] = collections.Counter()
        with subprocess.Popen([binary, "lake", "export", "--lake", lake], stdout=subprocess.PIPE, text=True) as export:
            for line in export.stdout:
                rows[json.loads(line)["event_uuid"]] += 1
        if export.returncode != 0:
            wrong.append(f"lake export ends with {export.returncode}")
        letters = set()
        for file in data.glob("dead-letters/*/*.ndjson"):
            for line in file.read_bytes().splitlines():
                letters.add(json.loads(line)["event_uuid"])
        checks = {
            "acknowledged events are not in the lake": [i for i in self.of("accepted") if not rows[i]],
            "events are in the lake more than once": [i for i, count in rows.items() if count > 1],
            "events in the lake were never sent, or are not valid": [i for i in rows if not self.valid.get(i)],
            "rejected events are not in the dead letters": [i for i in self.of("rejected") if i not in letters],
            "events never got an answer": self.of("unknown", "retry"),
        }
        wrong += [f"{len(found)} {what}, such as {found[0]}" for what, found in checks.items() if found]
        return wrong + self._compare_bytes(lake)

    def _compare_bytes(self, lake: Path) -> list[str]:
        """Reads the lake with a program that is not ours."""
        if not any(lake.glob("event_type=*/*/*.parquet")):
            return []
        import duckdb

        files = f"{lake}/event_type=*/*/*.parquet"
        rows = duckdb.sql(f"SELECT CAST(event_uuid AS VARCHAR), payload FROM read_parquet('{files}')").fetchall()
        other = [identity for identity, payload in rows if payload.encode() != self.bodies.get(identity)]
        return [f"{len(other)} events have other bytes in the lake, such as {other[0]}"] if other else []


class Sender:
    """One connection, opened anew whenever it breaks."""

    def __init__(self, ledger: Ledger, port: int, key: str, tls: bool):
        self.ledger, self.port, self.key, self.tls = ledger, port, key, tls
        self.connection = None

    def send(self, events: list[tuple[str, bytes]], note: str, is_valid=lambda _: True, wait_delivered: bool = False) -> bool:
        """Whether an answer came."""
        for identity, body in events:
            self.ledger.enter(identity, body, is_valid(identity))
        if self.connection is None:
            make = http.client.HTTPConnection
            more = {}
            if self.tls:
                make, more = http.client.HTTPSConnection, {"context": ssl._create_unverified_context()}
            self.connection = make("127.0.0.1", self.port, timeout=ANSWER_SECONDS, **more)
        headers = {"X-Api-Key": self.key, "Content-Type": "application/x-ndjson"}
        if wait_delivered:
            headers["Prefer"] = "durability=delivered"
        try:
            self.connection.request("POST", "/v1/events", b"\n".join(body for _, body in events), headers)
            response = self.connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return False
        self.ledger.answered([identity for identity, _ in events], status, answer, note)
        return True

    def resend(self, identities: list[str], note: str) -> bool:
        """Sends events again until each has its final answer; whether that came for all of them."""
        left = list(dict.fromkeys(identities))
        deadline = time.monotonic() + ANSWER_SECONDS
        while left and time.monotonic() < deadline:
            for chunk in chunks(left, self.ledger.bodies):
                self.send([(identity, self.ledger.bodies[identity]) for identity in chunk], note)
            left = [identity for identity in left if self.ledger.state[identity] in ("unknown", "retry")]
            if left:
                time.sleep(0.1)
        return not left


def chunks(identities: list[str], bodies: dict[str, bytes]):
    """Stretches that one request can carry."""
    chunk, size = [], 0
    for identity in identities:
        chunk.append(identity)
        size += len(bodies[identity])
        if len(chunk) == 300 or size > 1_000_000:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class Load:
    """Threads that send a mix until they are stopped: good and bad events, alone and in batches, twins, and known ones."""

    def __init__(self, make_sender, ledger: Ledger, note: str, seed: int, threads: int = 3):
        self.ledger, self.note, self.stopped = ledger, note, threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(make_sender(), random.Random(seed * 100 + number)), daemon=True)
            for number in range(threads)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, sender: Sender, rng: random.Random):
        while not self.stopped.is_set():
            size = rng.choice([1, 1, rng.randrange(2, 40)])
            valid = {}
            events = []
            for _ in range(size):
                is_valid = rng.random() > 0.1
                identity, body = new_event(rng, is_valid)
                valid[identity] = is_valid
                events.append((identity, body))
            if size > 1 and rng.random() < 0.3:
                events.append(rng.choice(events))
                known = self.ledger.accepted[-2000:]
                for identity in rng.sample(known, min(3, len(known))):
                    valid[identity] = True
                    events.append((identity, self.ledger.bodies[identity]))
                rng.shuffle(events)
            if not sender.send(events, self.note, valid.__getitem__, wait_delivered=rng.random() < 0.05):
                with contextlib.suppress(TimeoutError):
                    self.stopped.wait(0.05)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(ANSWER_SECONDS + 5)
