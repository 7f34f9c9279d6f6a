"""The attacker: a process at the lowest priority that sends as fast as its connections take it, and counts what is answered."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from amplification.attacks import Attack
from amplification.wire import CONNECTION_BYTES, Http1, Http2, packets_bytes

ANSWERS_SECONDS = 1.0
"""For which answers are waited for after the last request."""

BATCH_BYTES = 64 << 10
STORED = {200, 202, 204, 207, 422}
"""Statuses of requests that were worked on to their end: not of those that were refused for their rate, size or key."""


@dataclass
class Tally:
    """What an attacker did."""

    sent: int = 0
    """Bytes on the wire."""
    payload: int = 0
    """Those without packets."""
    stored_payload: int = 0
    """Those of requests whose status is one of `STORED`."""
    answered: int = 0
    connections: int = 0
    requests: int = 0
    statuses: Counter = field(default_factory=Counter)

    @property
    def stored(self) -> float:
        """Bytes on the wire of the requests whose status is one of `STORED`."""
        return self.stored_payload * self.sent / max(1, self.payload)


@dataclass(frozen=True)
class Target:
    """Where the gateway listens."""

    port: int
    seconds: float
    requests_max: int | None = None


class Connection:
    """One connection of the attacker's."""

    def __init__(self, flood: Flood, number: int):
        self.flood, self.number = flood, number
        self.open()

    def open(self) -> None:
        attack, flood = self.flood.attack, self.flood
        self.protocol = Http2() if attack.wire == "h2" else Http1()
        self.waiting: deque[int] = deque()
        self.out, self.is_done = memoryview(self.protocol.opening), False
        self.socket = None
        try:
            self.socket = connect(flood.target.port, 2 + self.number % attack.addresses, reads=attack.reads)
        except OSError:
            # It takes no more: the next turn tries again.
            return
        flood.tally.connections += 1
        flood.tally.sent += CONNECTION_BYTES
        self.events = selectors.EVENT_READ * attack.reads | selectors.EVENT_WRITE
        flood.selector.register(self.socket, self.events, self)

    def close(self) -> None:
        if self.socket:
            self.flood.selector.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def again(self) -> None:
        self.close()
        if time.monotonic() < self.flood.deadline and not self.flood.attack.once:
            self.open()

    def watch(self, writes: bool) -> None:
        events = selectors.EVENT_READ * self.flood.attack.reads | selectors.EVENT_WRITE * writes
        if events != self.events and events:
            self.flood.selector.modify(self.socket, events, self)
            self.events = events

    def may_ask(self) -> bool:
        attack, flood = self.flood.attack, self.flood
        window = attack.window if attack.is_answered else None
        most = flood.target.requests_max
        has_room = window is None or len(self.waiting) < window
        return has_room and not (self.is_done or flood.is_over) and (most is None or flood.tally.requests < most)

    def fill(self) -> None:
        attack, parts, size = self.flood.attack, [], 0
        while size < BATCH_BYTES and self.may_ask():
            data = self.protocol.bytes_of(next(self.flood.requests))
            parts.append(data)
            size += len(data)
            self.flood.tally.requests += 1
            self.is_done = attack.once or attack.is_fresh
            if attack.is_answered:
                self.waiting.append(len(data))
        self.out = memoryview(b"".join(parts))

    def write(self) -> None:
        if not self.out:
            is_first = not self.is_done
            self.fill()
            if not self.out and is_first and self.is_done:
                # It had nothing to say.
                return self.again()
        if not self.out:
            return self.watch(False)
        piece = self.flood.attack.piece
        # Some packets of a byte at one time, so that the loop around is not what is measured.
        for _ in range(32 if piece else 1):
            sent = self.socket.send(self.out[:piece] if piece else self.out)
            self.out = self.out[sent:]
            self.flood.tally.sent += packets_bytes(sent)
            self.flood.tally.payload += sent
            if not self.out:
                break

    def read(self) -> None:
        data = self.socket.recv(1 << 18)
        tally = self.flood.tally
        tally.answered += len(data)
        if self.flood.attack.wire != "tls":
            for status in self.protocol.statuses(data):
                tally.statuses[status] += 1
                size = self.waiting.popleft() if self.waiting else 0
                tally.stored_payload += size if status in STORED else 0
        if not data or self.flood.attack.is_fresh:
            return self.again()
        self.watch(bool(self.out) or self.may_ask())


class Flood:
    """All connections of an attack."""

    def __init__(self, attack: Attack, target: Target):
        self.attack, self.target, self.tally = attack, target, Tally()
        # Of all connections: what one sends the others do not.
        self.requests = attack.requests()
        self.selector = selectors.DefaultSelector()
        self.deadline = time.monotonic() + target.seconds
        self.is_over = False
        self.connections = [Connection(self, number) for number in range(attack.connections)]

    def turn(self, seconds: float) -> None:
        for key, events in self.selector.select(max(0.0, seconds)):
            connection = key.data
            try:
                if events & selectors.EVENT_READ:
                    connection.read()
                elif events & selectors.EVENT_WRITE:
                    connection.write()
            except BlockingIOError:
                pass
            except OSError:
                connection.again()

    def run(self) -> Tally:
        while (left := self.deadline - time.monotonic()) > 0:
            self.turn(min(left, 0.05))
            for connection in self.connections:
                if connection.socket is None and not self.attack.once:
                    connection.open()
        self.is_over = True
        end = time.monotonic() + ANSWERS_SECONDS
        while self.attack.reads and self.attack.is_answered and time.monotonic() < end:
            if not any(connection.socket and connection.waiting for connection in self.connections):
                break
            self.turn(0.05)
        for connection in self.connections:
            connection.close()
        return self.tally


def connect(port: int, last: int, *, reads: bool = True) -> socket.socket:
    """A connection from `127.0.0.last`."""
    stream = socket.socket()
    stream.settimeout(1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not reads:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        stream.bind((f"127.0.0.{last}", 0))
        stream.connect(("127.0.0.1", port))
    except OSError:
        stream.close()
        raise
    stream.setblocking(False)
    return stream


def handshakes(target: Target) -> Tally:
    """Whole TLS handshakes, one after the other."""
    tally, context = Tally(), ssl._create_unverified_context()
    deadline = time.monotonic() + target.seconds
    while time.monotonic() < deadline:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            with connect(target.port, 2) as stream:
                stream.settimeout(1)
                tally.connections += 1
                tally.requests += 1
                tally.sent += CONNECTION_BYTES
                is_done = False
                while not is_done:
                    try:
                        tls.do_handshake()
                        is_done = True
                    except ssl.SSLWantReadError:
                        pass
                    if data := outgoing.read():
                        stream.sendall(data)
                        tally.sent += packets_bytes(len(data))
                        tally.payload += len(data)
                    if not is_done:
                        data = stream.recv(1 << 16)
                        if not data:
                            break
                        tally.answered += len(data)
                        incoming.write(data)
                # The session tickets, which come when the handshake is over.
                tally.answered += len(stream.recv(1 << 16))
        except OSError:
            pass
    return tally


def attack_with(attack: Attack, target: Target, pipe) -> None:
    """Runs in a process of its own; sends its tally through `pipe`."""
    os.nice(19)
    pipe.send(handshakes(target) if attack.handshake else Flood(attack, target).run())
