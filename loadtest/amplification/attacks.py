"""The attacks: what is sent, with which key, from how many addresses, and how."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from amplification import bodies
from amplification.wire import HEADERS, PATH, PING, H2Request, client_hello, frame, h1

NAMES = 1_000
"""Event types of the large registry."""


@dataclass(frozen=True)
class Attack:
    """One way to do harm."""

    name: str
    requests: Callable[[], Iterator]
    """What is sent, one after the other."""
    key: str | None = None
    addresses: int = 1
    wire: str = "h1"
    """`h1`, `h2` or `tls`: what the ordinary event beside it is sent over, too."""
    connections: int = 16
    window: int | None = 8
    """Requests of a connection that wait for their answer at one time; None: as many as fit."""
    is_answered: bool = True
    once: bool = False
    """One request for each connection, which is then held open."""
    is_fresh: bool = False
    """A connection for each request, closed at the first byte of its answer."""
    handshake: bool = False
    """A whole TLS handshake for each connection, and then nothing."""
    reads: bool = True
    piece: int | None = None
    """Bytes in each packet."""
    large_registry: bool = False
    admin: bool = False
    """To the operators' listener."""

    @property
    def sender(self) -> str:
        who = {None: "no key", "browser": "browser key", "server": "server key"}[self.key]
        return who if self.addresses == 1 else f"{who}, {self.addresses} addresses"


def post(body: bytes, key: str | None, **more: str) -> bytes:
    return h1("POST", PATH, key, body, **more)


def pool(make: Callable[[], bytes], size: int = 4) -> Callable[[], list]:
    """Requests that are made once for all runs, because to make them takes long."""
    return cache(lambda: [make() for _ in range(size)])


CATALOGUE: list[Attack] = []


def add(name: str, make: Callable[[str | None], bytes | H2Request], *senders: str, size: int | None = 4, **how) -> None:
    """An attack for each of `senders`: `browser`, `browser16`, `server`, `none` or `none16`; 16 is for so many addresses.

    `size` is how many different requests are sent in turn; with None each request is new.
    """
    for sender in senders:
        addresses = 16 if sender.endswith("16") else 1
        word = sender.removesuffix("16")
        key = None if word == "none" else word
        if size is None:
            def requests(make=make, key=key):
                return (make(key) for _ in itertools.count())
        else:
            made = pool(lambda make=make, key=key: make(key), size)

            def requests(made=made):
                return itertools.cycle(made())
        CATALOGUE.append(Attack(name, requests, key, addresses, **how))


ALL = ("browser", "browser16", "server")
ONE = ("browser", "server")


LINES = {"content_type": "application/x-ndjson"}
H2_LINES = {"content-type": "application/x-ndjson"}
WAITING = {"prefer": "durability=delivered"}


def packed(encoding: str, body: bytes, key: str | None, **more: str) -> bytes:
    return post(body, key, content_encoding=encoding, **more)


# ---- what inflates ---------------------------------------------------------------------------------------------------------
add("gzip of 100 MiB of zeros", lambda key: packed("gzip", bodies.zeros_gzipped(), key), *ONE, size=1, window=1)
add("10,000 gzip streams in one body", lambda key: packed("gzip", bodies.empty_members(9_999), key),
    "browser", size=1, window=1)
add("one event of 150 faults 9,000 times, brotli", lambda key: packed("br", bodies.brotlied(bodies.array(
    [bodies.faulty()] * 9_000)), key), *ALL, size=2)
add("8,000 lines `1`, brotli", lambda key: packed("br", bodies.brotlied(b"1\n" * 8_000), key, **LINES), *ALL, size=1)
add("8 lines `1`, brotli", lambda key: packed("br", bodies.brotlied(b"1\n" * 8), key, **LINES), "browser", size=1)
# The same bytes make one dead letter; new ones make one each.
add("8 lines of new numbers, brotli", lambda key: packed("br", bodies.brotlied(b"".join(
    b"%d\n" % bodies.RNG.randrange(10**12) for _ in range(8))), key, **LINES), "browser", size=None)
add("500 valid events, compressed as far as is allowed", lambda key: packed("zstd", bodies.inflating(15.9 if key == "browser" else 63), key),
    *ALL, size=48)
add("valid events padded to 1 MB, brotli", lambda key: packed("br", bodies.brotlied(bodies.lines(
    bodies.padded(1_000_000) for _ in range(16))), key), *ONE)

# ---- very many -------------------------------------------------------------------------------------------------------------
add("10,000 lines `1`", lambda key: post(b"1\n" * 10_000, key, **LINES), *ONE, size=1, window=2)
add("10,000 events `{}`", lambda key: post(bodies.array([b"{}"] * 10_000), key), "server", size=1, window=2)
add("600 events of 150 faults", lambda key: post(bodies.array(bodies.faulty() for _ in range(600)), key),
    "browser16", "server", window=2)
add("25 events of 150 faults", lambda key: post(bodies.array(bodies.faulty() for _ in range(25)), key), "browser16", size=16)
add("an event with 3,000 unknown fields", lambda key: post(bodies.faulty(3_000), key), "browser16", "server", size=16)

# ---- strange JSON ------------------------------------------------------------------------------------------------------------
add("4 MB of `[`", lambda key: post(b"[" * 4_000_000, key), "browser", size=1, window=1)
add("a number of 60,000 digits", lambda key: post(bodies.with_member(b'"active_ms":' + b"7" * 60_000), key),
    "browser16", size=16)
add("60 KB of control characters", lambda key: post(b"\1" * 60_000, key, **LINES), "browser16", size=1)
add("60 KB of escapes in an unknown field", lambda key: post(bodies.with_member(b'"a":"' + b'\\"' * 30_000 + b'"'), key),
    "browser16", size=16)
add("5 MB, more than a body may have", lambda key: post(b" " * 5_000_000, key), "browser", size=1, window=1)

# ---- names, and what needs no key --------------------------------------------------------------------------------------------
add("500 events of names nearly known", lambda key: post(bodies.array(
    bodies.text({"event_uuid": bodies.uuid(), "event_name": bodies.near_name(NAMES), "created_at": 1}) for _ in range(500)), key),
    "server", size=8, large_registry=True)
add("a schema of a name of 60 KB", lambda key: h1("GET", "/v1/schemas/menu:item:" + "a" * 60_000),
    "none", size=1, large_registry=True)
add("a schema of a name nearly known", lambda key: h1("GET", f"/v1/schemas/{bodies.near_name(NAMES)}"),
    "none", "none16", size=256,
    large_registry=True)
add("the list of schemas", lambda key: h1("GET", "/v1/schemas"), "none16", size=1, large_registry=True)
add("a schema", lambda key: h1("GET", "/v1/schemas/menu:item:viewed"), "none", size=1)
add("preflights", lambda key: h1("OPTIONS", PATH, origin="https://menu.example", access_control_request_method="POST",
    access_control_request_headers="x-api-key"), "none", size=1)
add("an unknown path", lambda key: h1("GET", "/"), "none", "none16", size=1)
add("health", lambda key: h1("GET", "/healthz"), "none", size=1)
add("events without a key", lambda key: post(bodies.ordinary(), None), "none", size=1)
add("4 MB with an unknown key", lambda key: post(b" " * 4_000_000, "devil"), "none", size=1, window=1)
add("pixels without a key", lambda key: h1("GET", "/v1/pixel.gif?e=e30"), "none", size=1)
add("pixels", lambda key: h1("GET", f"/v1/pixel.gif?key={key}&{bodies.query()}", referer="https://menu.example/menu"),
    "browser16", size=1)

# ---- events, again and again ---------------------------------------------------------------------------------------------------
add("ordinary events beyond the rate", lambda key: post(bodies.ordinary(), key), *ALL, size=None, window=64)
add("one event again and again", lambda key: post(bodies.ordinary(), key), "server", size=1)


def conflicting(count: int) -> bytes:
    event = json.loads(bodies.ordinary()) | {"event_uuid": "01a1f502-96b0-786e-9957-074578f6d824"}
    return bodies.lines(bodies.text(event | {"active_ms": bodies.RNG.randrange(10**7)}) for _ in range(count))


add("one `event_uuid`, ever another payload", lambda key: post(conflicting(1), key), "server", size=None)
add("the same, 100 in a body", lambda key: post(conflicting(100), key), "browser", size=None)
add("100 events of 370 days", lambda key: post(bodies.lines(bodies.aged(370) for _ in range(100)), key), "server", size=200)
add("the same, `durability=delivered`", lambda key: post(bodies.lines(bodies.aged(370) for _ in range(100)), key, **WAITING),
    *ONE, size=200,
    window=1)
add("an event, `durability=delivered`", lambda key: post(bodies.ordinary(), key, **WAITING), "server", size=None, window=1)
add("one event again and again, `durability=delivered`", lambda key: post(bodies.ordinary(), key, **WAITING),
    "server", size=1, window=1)
add("100 valid events of 10 KB", lambda key: post(bodies.lines(bodies.padded(10_000) for _ in range(100)), key),
    "server", size=8, window=2)

# ---- connections ---------------------------------------------------------------------------------------------------------------
add("connections that say nothing and go", lambda key: b"", "none", size=1, is_fresh=True)
add("1,000 connections with half a head", lambda key: h1("POST", PATH, "server")[:-2] + b"x-slow: a", "none", size=1, once=True,
    connections=1_000, is_answered=False)
add("a head of 60 KB, a byte in a packet", lambda key: h1("GET", "/", a="a" * 60_000), "none", size=1, piece=1, window=1)
add("a body of 530 chunks of a byte", lambda key: h1("POST", PATH, key, transfer_encoding="chunked")
    + bodies.byte_chunks(bodies.ordinary()), "server", size=64)
add("a body, a byte in a packet", lambda key: post(bodies.ordinary(), key), "server", size=64, piece=1, window=1)
add("64 bodies that stall at 4 MiB − 100", lambda key: post(b" " * (4 << 20), key)[:-100],
    "browser", size=1, once=True, connections=64,
    is_answered=False)
add("answers that nobody reads", lambda key: post(b"1\n" * 10_000, key, **LINES), "server", size=1, window=None, reads=False)
add("TLS handshakes, only the first message", lambda key: client_hello(), "none", size=1, wire="tls", is_fresh=True)
add("whole TLS handshakes", lambda key: b"", "none", size=1, wire="tls", handshake=True)
add("1,000 half-open TLS handshakes", lambda key: client_hello()[:200],
    "none", size=1, wire="tls", once=True, connections=1_000,
    is_answered=False)
add("HTTP/2 pings", lambda key: frame(PING, 0, 0, bytes(8)), "none", size=1, wire="h2", is_answered=False)
add("HTTP/2 streams that are reset at once", lambda key: H2Request("GET", "/", is_reset=True), "none", size=1, wire="h2",
    is_answered=False)
add("HTTP/2, 17 bytes a request: an unknown path", lambda key: H2Request("GET", "/x"), "none16", size=1, wire="h2", window=100)
add("HTTP/2, 17 bytes a request: the list of schemas", lambda key: H2Request("GET", "/v1/schemas"),
    "none", size=1, wire="h2", window=100)
add("HTTP/2, 20 bytes a request: no event in it", lambda key: H2Request("POST", PATH, key), *ONE, size=1, wire="h2", window=100)
add("HTTP/2, 40 bytes a request: 8 lines `1`", lambda key: H2Request("POST", PATH, key, b"1\n" * 8, H2_LINES),
    *ONE, size=1, wire="h2", window=100)
add("HTTP/2, 33 bytes a request: an event `1`", lambda key: H2Request("POST", PATH, key, b"1\n", H2_LINES),
    "browser", size=1, wire="h2", window=100)
add("HTTP/2, 8,000 lines `1` in 20 bytes of brotli", lambda key: H2Request("POST", PATH, key, bodies.brotlied(b"1\n" * 8_000),
    {"content-encoding": "br"} | H2_LINES), *ONE, size=1, wire="h2", window=100)
add("HTTP/2, an array of 8,000 `1` in 20 bytes of brotli", lambda key: H2Request("POST", PATH, key, bodies.brotlied(
    bodies.array([b"1"] * 8_000)), {"content-encoding": "br", "content-type": "application/json"}), "server", size=1, wire="h2", window=100)
add("HTTP/2, 50 valid events in 300 bytes of brotli", lambda key: H2Request("POST", PATH, key, bodies.brotlied(bodies.alike(50, 0, "")),
    {"content-encoding": "br"} | H2_LINES), *ONE, size=500, wire="h2", window=100)
add("HTTP/2 heads without an end", lambda key: frame(HEADERS, 0, 1, b"\x82")[:5],
    "none", size=1, wire="h2", once=True, connections=1_000,
    is_answered=False)

# ---- the operators' listener, from a web page ----------------------------------------------------------------------------------
add("metrics by another name", lambda key: h1("GET", "/metrics", host="rebound.example"), "none", size=1, admin=True)
add("dead letters, asked for by a page", lambda key: h1("GET", "/admin/dead-letters/letters", host="localhost",
    sec_fetch_site="cross-site"), "none", size=1, admin=True)
