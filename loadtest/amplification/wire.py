"""Requests as bytes, HTTP/1.1 and HTTP/2, and the statuses of answers. Without a library, because none is as fast."""

from __future__ import annotations

import re
import ssl
import struct
from dataclasses import dataclass, field

ORIGIN = "https://menu.example"
PATH = "/v1/events"

PACKET_BYTES = 52
"""IPv4 and TCP (with its time stamps) of each packet. A byte that is sent alone is a packet."""

SEGMENT_BYTES = 1448
"""Bytes that one packet carries over Ethernet."""

CONNECTION_BYTES = 4 * PACKET_BYTES
"""Packets of the sender's that open and close a connection."""

STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")
STATUS_BYTES = 12


def packets_bytes(payload: int) -> int:
    """Bytes on the wire of so many bytes that are sent at one time."""
    return payload + PACKET_BYTES * max(1, -(-payload // SEGMENT_BYTES))


def fields_of(key: str | None, more: dict[str, str]) -> dict[str, str]:
    """The headers of a request with `key`: `browser`, `server`, another secret, or None."""
    fields = {"x-api-key": key} if key else {}
    if key == "browser":
        fields["origin"] = ORIGIN
    return fields | more


def h1(method: str, target: str, key: str | None = None, body: bytes | None = None, host: str = "x", **more: str) -> bytes:
    """A request over HTTP/1.1. Header names with `_` for `-`."""
    fields = fields_of(key, {name.replace("_", "-"): value for name, value in more.items()})
    if body is not None and "transfer-encoding" not in fields:
        fields.setdefault("content-length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n".encode() + (body or b"")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
# Answers are let through whatever their size.
PREFACE = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1))
           + frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 2**16)))
STATIC_FIELDS = {(":method", "GET"): 2, (":method", "POST"): 3, (":scheme", "http"): 6}
STATIC_NAMES = {":authority": 1, ":path": 4, "content-encoding": 26, "content-type": 31}
# Of the answers; the others are in none of the tables that both sides begin with.
STATIC_STATUSES = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


@dataclass
class H2Request:
    """A request over HTTP/2. After the first of a connection each of its headers is one byte (HPACK)."""

    method: str
    path: str
    key: str | None = None
    body: bytes | None = None
    more: dict[str, str] = field(default_factory=dict)
    is_reset: bool = False

    def __post_init__(self):
        fields = {":method": self.method, ":scheme": "http", ":path": self.path, ":authority": "x"}
        self.first, later = b"", []
        for name, value in (fields | fields_of(self.key, self.more)).items():
            if (name, value) in STATIC_FIELDS:
                index = bytes([0x80 | STATIC_FIELDS[name, value]])
                self.first += index
                later.append(index)
            else:
                known = STATIC_NAMES.get(name)
                text = bytes([0x40 | known]) if known else b"\x40" + bytes([len(name)]) + name.encode()
                self.first += text + bytes([len(value)]) + value.encode()
                later.append(None)
        # What was added last has the index 62.
        count = later.count(None)
        indexes = iter(range(61 + count, 61, -1))
        self.later = b"".join(index or bytes([0x80 | next(indexes)]) for index in later)

    def sent_on(self, stream: int) -> bytes:
        """Its frames, on this stream. All requests of a connection have the same headers."""
        flags = END_HEADERS | (END_STREAM if self.body is None else 0)
        sent = frame(HEADERS, flags, stream, self.first if stream == 1 else self.later)
        if self.body is not None:
            sent += frame(DATA, END_STREAM, stream, self.body)
        if self.is_reset:
            sent += frame(RESET, 0, stream, struct.pack(">I", 8))
        return sent


class Http1:
    """The state of a connection over HTTP/1.1, which has next to none."""

    opening = b""

    def __init__(self):
        self.rest = b""

    def bytes_of(self, request: bytes) -> bytes:
        return request

    def statuses(self, data: bytes) -> list[int]:
        """The statuses of the answers that begin in `data`."""
        data = self.rest + data
        end, found = 0, []
        for match in STATUS.finditer(data):
            found.append(int(match[1]))
            end = match.end()
        self.rest = data[max(end, len(data) - STATUS_BYTES + 1):]
        return found


class Http2:
    """The state of a connection over HTTP/2."""

    opening = PREFACE + frame(SETTINGS, ACK, 0)

    def __init__(self):
        self.stream, self.rest = -1, b""
        # What the gateway has put into the table of headers: how many, and which of them are statuses.
        self.kept, self.kept_statuses = 0, {}

    def bytes_of(self, request: H2Request | bytes) -> bytes:
        # A frame as it is: a ping.
        if isinstance(request, bytes):
            return request
        self.stream += 2
        return request.sent_on(self.stream)

    def statuses(self, data: bytes) -> list[int]:
        """The statuses of the answers whose heads are in `data`."""
        data, at, found = self.rest + data, 0, []
        while len(data) >= at + 9:
            length = int.from_bytes(data[at:at + 3], "big")
            if len(data) < at + 9 + length:
                break
            if data[at + 3] == HEADERS:
                found.append(self.status(data[at + 9:at + 9 + length]))
            at += 9 + length
        self.rest = data[at:]
        return found

    def status(self, block: bytes) -> int:
        """The status that a block of headers begins with; 0 if it does not."""
        first = block[0]
        if first & 0x80:
            index = first & 0x7F
            status = STATIC_STATUSES.get(index) or self.kept_statuses.get(self.kept - (index - 62), 0)
        else:
            length = block[1] & 0x7F
            text = block[2:2 + length]
            status = HUFFMAN_STATUSES.get(text, 0) if block[1] & 0x80 else int(text)
            if first & 0x40:
                self.kept_statuses[self.kept + 1] = status
        self.kept += kept_fields(block)
        return status


def kept_fields(block: bytes) -> int:
    """How many headers of a block go into the table (RFC 7541, 6.2.1)."""
    at, kept = 0, 0

    def skip_text() -> None:
        nonlocal at
        length = number(7)
        at += length

    def number(bits: int) -> int:
        nonlocal at
        mask = (1 << bits) - 1
        value, shift = block[at] & mask, 0
        at += 1
        while value >= mask and shift < 28:
            byte = block[at]
            value, shift, at = value + ((byte & 0x7F) << shift), shift + 7, at + 1
            if byte < 0x80:
                break
        return value

    while at < len(block):
        first = block[at]
        if first & 0x80:
            number(7)
        elif first & 0xE0 == 0x20:
            number(5)
        else:
            kept += bool(first & 0x40)
            if number(6 if first & 0x40 else 4) == 0:
                skip_text()
            skip_text()
    return kept


# "202", "207", "401", "413", "422", "429", "503" by the code of HPACK; `h2` sends digits so.
HUFFMAN_DIGITS = [format(digit, "05b") for digit in range(3)] + [format(0x16 + digit, "06b") for digit in range(3, 10)]


def huffman(status: int) -> bytes:
    bits = "".join(HUFFMAN_DIGITS[int(digit)] for digit in str(status))
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


HUFFMAN_STATUSES = {huffman(status): status for status in range(100, 600)}


def client_hello() -> bytes:
    """How a TLS handshake begins."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
