"""The honest sender: an event each 20 ms over a connection that it keeps, and a look at /healthz now and then."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from amplification import bodies
from amplification.wire import PATH, STATUS, h1

INTERVAL_SECONDS = 0.02
HEALTH_INTERVAL_SECONDS = 0.1
PATIENCE_SECONDS = 3.0
ADDRESS = "127.0.0.200"


@dataclass
class Heard:
    """What the honest sender met."""

    times_ms: list[float] = field(default_factory=list)
    """Of each event, from when it was due to its answer."""
    refused: int = 0
    """Events that were not answered 202 in time."""
    statuses: Counter = field(default_factory=Counter)
    health_ms: float = 0
    """The longest time of /healthz, over a connection of its own each time."""

    def percentile(self, percent: float) -> float:
        """By nearest rank: of a hundred and fewer the 99th is the longest."""
        ordered = sorted(self.times_ms)
        return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)] if ordered else float("nan")


class Line:
    """A connection that is kept, and made anew where it ended."""

    def __init__(self, port: int, is_tls: bool):
        self.port, self.is_tls, self.stream = port, is_tls, None

    def ask(self, request: bytes, until: float) -> int:
        """The status of the answer; 0 where there is none in time."""
        try:
            if self.stream is None:
                stream = socket.create_connection(("127.0.0.1", self.port), self.left(until), source_address=(ADDRESS, 0))
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                context = ssl._create_unverified_context() if self.is_tls else None
                self.stream = context.wrap_socket(stream, server_hostname="localhost") if context else stream
            self.stream.settimeout(self.left(until))
            self.stream.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                self.stream.settimeout(self.left(until))
                answer += self.some()
            head, _, body = answer.partition(b"\r\n\r\n")
            length = next(int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
            while len(body) < length:
                self.stream.settimeout(self.left(until))
                body += self.some()
            return int(STATUS.match(head)[1])
        except OSError:
            self.close()
            return 0

    def some(self) -> bytes:
        data = self.stream.recv(1 << 16)
        if not data:
            raise ConnectionError
        return data

    @staticmethod
    def left(until: float) -> float:
        return max(0.001, until - time.monotonic())

    def close(self) -> None:
        if self.stream:
            self.stream.close()
            self.stream = None


def look_at_health(port: int, is_tls: bool, deadline: float, heard: Heard) -> None:
    while (asked := time.monotonic()) < deadline:
        line = Line(port, is_tls)
        line.ask(h1("GET", "/healthz"), asked + PATIENCE_SECONDS)
        line.close()
        took = time.monotonic() - asked
        heard.health_ms = max(heard.health_ms, took * 1000)
        time.sleep(max(0.0, HEALTH_INTERVAL_SECONDS - took))


def send(port: int, is_tls: bool, seconds: float, pipe) -> None:
    """Runs in a process of its own. Says `ready` once its connection stands, begins when told, and sends what it heard."""
    heard, line = Heard(), Line(port, is_tls)
    line.ask(h1("GET", "/healthz"), time.monotonic() + PATIENCE_SECONDS)
    pipe.send("ready")
    pipe.recv()
    begun = time.monotonic()
    health = threading.Thread(target=look_at_health, args=(port, is_tls, begun + seconds, heard))
    health.start()
    due = begun
    while due < begun + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        status = line.ask(h1("POST", PATH, "honest", bodies.ordinary()), due + PATIENCE_SECONDS)
        heard.times_ms.append((time.monotonic() - due) * 1000)
        heard.statuses[status] += 1
        heard.refused += status != 202
        due += INTERVAL_SECONDS
        if time.monotonic() - due > PATIENCE_SECONDS:
            # What could not even be sent in time.
            break
    health.join()
    line.close()
    pipe.send(heard)
