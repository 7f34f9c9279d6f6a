"""A gateway that plays trouble as a test tells it, and counts as the real one does.

It answers the first requests as its script says, and all later ones by the rules of openapi.yaml: new events are accepted, those it
has are duplicates, bad ones are rejected. So a test knows which event was acknowledged when, and whether a sender sent it again.
It reads events in the forms of Lakegate, and those of Segment and PostHog, whose libraries sender_table.py measures too.
"""

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from events import new_uuid

# A sender that says nothing for so long is gone.
IDLE_SECONDS_MAX = 60
# With the code of a problem: its `type`.
PROBLEM_TYPE = "/errors#"
REJECTED = {
    "code": "schema_violation", "detail": "played: the schema says no", "pointer": "/student_id",
    "schema": "lesson:started/1", "schema_url": "/v1/schemas/lesson:started/1",
}
STORE_AGAIN = {"code": "storage_unavailable", "detail": "played: not stored"}


def is_bad(event: dict) -> bool:
    """Whether the gateway rejects an event. Tests mark it so."""
    return "bad" in event or "bad" in event.get("properties", {})


@dataclass
class Event:
    uuid: str
    # As it was sent: a sender that makes the event anew for a second try is found.
    text: str
    is_bad: bool


@dataclass
class Request:
    events: list[Event]
    headers: dict[str, str]
    arrived: float
    # When the answer was given, its status (0: cut off), and the seconds that it asked to wait.
    answered: float = 0.0
    status: int = 0
    retry_after: int = 0


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]
    # Cut off after so many bytes of the whole answer, head included; None: whole.
    cut_after: int | None = None


# What is played for one request: it may use the gateway's books.
Play = Callable[["ScriptedGateway", Request], Answer]


def problem(status: int, code: str, retry_after: int | str | None = None, **members) -> Answer:
    """An answer of the gateway that acknowledges nothing."""
    body = {
        "type": PROBLEM_TYPE + code, "title": code.replace("_", " "), "status": status, "code": code, "detail": "played",
        "request_id": new_uuid(),
    }
    body |= members
    headers = {"Content-Type": "application/problem+json", "X-Request-Id": body["request_id"]}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="lakegate"'
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status, json.dumps(body).encode(), headers)


def refuse(status: int, code: str, retry_after: int | str | None = None) -> Play:
    """Nothing is stored."""
    return lambda gateway, request: problem(status, code, retry_after)


def foreign(status: int, body: str, content_type="text/html", **headers) -> Play:
    """An answer of something between sender and gateway, such as a proxy. Nothing is stored."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda gateway, request: Answer(status, body.encode(), {"Content-Type": content_type} | headers)


def honest(gateway: "ScriptedGateway", request: Request) -> Answer:
    """As the rules say."""
    return gateway.store(request)


def not_stored(*indexes: int, retry_after: int) -> Play:
    """All but the events at `indexes` are stored."""
    return lambda gateway, request: gateway.store(request, frozenset(indexes), retry_after)


def at_most(events: int) -> Play:
    """A gateway, or a proxy, with so small a limit."""
    return lambda gateway, request: honest(gateway, request) if len(request.events) <= events else problem(413, "body_too_large")


def reset(*, stored: bool, cut_after: int) -> Play:
    """The connection ends after so many bytes of the answer, by RST; the events may be stored by then."""

    def play(gateway, request):
        answer = gateway.store(request) if stored else problem(503, "stopping")
        answer.cut_after = cut_after
        return answer

    return play


@dataclass
class ScriptedGateway:
    script: list[Play]
    # What is played after the script.
    afterwards: Play = honest
    # How requests are answered that have events of several fates: `each` says 207 (`retry`: 503 where there is nothing else),
    # `whole` says 503 or 200. `all_good` is the status of a request without faults: 202, or 200 where answers are whole.
    answers: str = "each"
    all_good: int = 202
    requests: list[Request] = field(default_factory=list)
    # How often each event was accepted, and rejected, by its UUID.
    accepted: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, request: Request, not_stored=frozenset(), retry_after=0) -> Answer:
        counts, results = dict.fromkeys(("accepted", "duplicates", "rejected", "retry"), 0), []
        for index, event in enumerate(request.events):
            status, error = "accepted", None
            if event.is_bad:
                status, error = "rejected", REJECTED
                self.rejected[event.uuid] += 1
            elif event.uuid in self.accepted:
                status = "duplicate"
            elif index in not_stored:
                status, error = "retry", STORE_AGAIN
            else:
                self.accepted[event.uuid] += 1
            counts["duplicates" if status == "duplicate" else status] += 1
            if status != "accepted":
                results.append({"index": index, "event_uuid": event.uuid, "status": status} | ({"error": error} if error else {}))
        members = counts | {"results": results}
        events, each = len(request.events), self.answers == "each"
        if counts["retry"] == events or (counts["retry"] and not each):
            return problem(503, "storage_unavailable", retry_after, **members)
        if counts["rejected"] == events and each:
            return problem(422, "all_rejected", **members)
        status = 207 if each and counts["rejected"] + counts["retry"] else self.all_good
        headers = {"Content-Type": "application/json", "X-Request-Id": new_uuid()} | ({"Retry-After": str(retry_after)} if counts["retry"] else {})
        return Answer(status, json.dumps(members).encode(), headers)

    def answer(self, request: Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            number = len(self.requests) - 1
            play = self.script[number] if number < len(self.script) else self.afterwards
            return play(self, request)

    @contextlib.contextmanager
    def running(self):
        """Serves on a free port of loopback; gives the base URL."""
        server = Server(("127.0.0.1", 0), handler_of(self))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def read_events(body: bytes, encoding: str) -> list[Event]:
    text = (gzip.decompress(body) if encoding == "gzip" else body).decode()
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if whole is None or "event_uuid" in whole:
        return [event_of(json.loads(line), line) for line in text.split("\n") if line.strip()]
    elements = whole if isinstance(whole, list) else whole.get("events") or whole["batch"]
    return [event_of(element, json.dumps(element)) for element in elements]


def event_of(element: dict, text: str) -> Event:
    # The name of the UUID with Lakegate, Segment and PostHog.
    uuid = element.get("event_uuid") or element.get("messageId") or element["uuid"]
    return Event(uuid, text, is_bad(element))


class Server(ThreadingHTTPServer):
    # A sender that was ended keeps no test waiting.
    daemon_threads = True

    def shutdown_request(self, request):
        """Closes without a FIN of its own before, which would make an orderly end of a reset."""
        self.close_request(request)


def handler_of(gateway: ScriptedGateway):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_SECONDS_MAX

        def do_POST(self):
            arrived = time.monotonic()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            events = read_events(body, self.headers.get("Content-Encoding", ""))
            request = Request(events, {name.lower(): value for name, value in self.headers.items()}, arrived)
            answer = gateway.answer(request)
            head = f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('Played',))[0]}\r\n"
            for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
                head += f"{name}: {value}\r\n"
            sent = f"{head}\r\n".encode() + answer.body
            retry_after = answer.headers.get("Retry-After", "")
            request.retry_after = int(retry_after) if retry_after.isdigit() else 0
            request.status = answer.status if answer.cut_after is None else 0
            request.answered = time.monotonic()
            self.wfile.write(sent[: answer.cut_after])
            if answer.cut_after is not None:
                # With no time to linger, closing is a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

        def log_message(self, *arguments):
            pass

    return Handler
