"""Events and bodies: an ordinary one, and those that an attacker would think of."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
import zlib
from functools import cache
from pathlib import Path

import brotli
import zstandard

ORDINARY_BYTES = 530
DAY = 86_400
RNG = random.Random()
# Else the attacker and the honest sender, both forked from one process, would send the same identities.
os.register_at_fork(after_in_child=RNG.seed)
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


def uuid() -> str:
    """A new identity."""
    return spelled(f"{RNG.getrandbits(128):032x}")


def spelled(digits: str) -> str:
    """32 digits as a UUID of version 4."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def members(**more) -> dict:
    """An event of `menu:section:reached` with all that its schema asks for. It has the same length at any time."""
    return {
        "event_uuid": uuid(), "event_name": "menu:section:reached", "created_at": int(time.time()) + 0.25,
        "session_id": "01a1f01a-0444-7f04-8b2d-a45b86dc283c", "visit_id": "01a1f01a-0638-747e-b284-61e0593942a4",
        "restaurant_id": "tasca-do-lago", "menu_id": "dinner", "section_id": "appetizers", "section_index": 0,
    } | more


def text(event: dict) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


@cache
def ordinary_parts() -> tuple[bytes, bytes]:
    more = dict(page_path="/menu/dinner", locale="pt-PT", utc_offset_minutes=0, section_name="", section_count=6,
                depth_percent=14, active_ms=12280)
    short = text(members(**more))
    more["section_name"] = ("Entradas e petiscos da casa " * 9)[: ORDINARY_BYTES - len(short)]
    event = text(members(**more))
    assert len(event) == ORDINARY_BYTES
    at = event.index(b'"event_uuid":"') + 14
    return event[:at], event[at + 36:]


def ordinary() -> bytes:
    """An honest event, of 530 bytes."""
    before, after = ordinary_parts()
    return before + uuid().encode() + after


def query() -> str:
    """An event as the parameters of a pixel."""
    event = members()
    del event["event_uuid"], event["created_at"], event["section_index"]
    return "&".join(f"{name}={value}" for name, value in event.items()) + "&section_index:=0"


def lines(events) -> bytes:
    return b"\n".join(events)


def array(events) -> bytes:
    return b"[" + b",".join(events) + b"]"


def faulty(faults: int = 150) -> bytes:
    """An event with so many fields that its schema does not know."""
    return text(members(**{f"{RNG.getrandbits(32):x}": 1 for _ in range(faults)}))


def padded(size: int) -> bytes:
    """A valid event with so many spaces in it."""
    event = text(members())
    return event[:-1] + b" " * (size - len(event)) + b"}"


def with_member(member: bytes) -> bytes:
    return text(members())[:-1] + b"," + member + b"}"


def nested(depth: int) -> bytes:
    return with_member(b'"a":' + b"[" * depth + b"1" + b"]" * depth)


def near_name(names: int) -> str:
    """A name that no schema has, and that many resemble."""
    letters = list(f"menu:item:viewed-{RNG.randrange(names)}")
    at = RNG.randrange(5, len(letters) - 1)
    letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters).replace("::", ":").strip(":") + RNG.choice("abcxyz")


@cache
def examples() -> list[dict]:
    """A good event of each type of the registry that is shipped."""
    return [json.loads(file.read_bytes())["good"][0] for file in sorted(SCHEMAS.rglob("*.examples.json"))]


def aged(days: int) -> bytes:
    """A good event of any type, created on one of so many days before today."""
    return text(RNG.choice(examples()) | {"event_uuid": uuid(), "created_at": int(time.time()) - DAY * RNG.randrange(days)})


def brotlied(body: bytes) -> bytes:
    return brotli.compress(body, quality=9, lgwin=22)


def zstded(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=9).compress(body)


def alike(count: int, digits: int, path: str = "/a" * 60) -> bytes:
    """Events that differ from each other in so many random digits, and in an identity that is counted up."""
    first = RNG.getrandbits(120)

    def event(number: int) -> bytes:
        noise = f"{RNG.getrandbits(256):064x}"[:digits] + "0" * (64 - digits)
        ids = {"session_id": spelled(noise[:32]), "visit_id": spelled(noise[32:])}
        return text(members(event_uuid=spelled(f"{first + number:032x}"), page_path="/" + path, **ids))
    return lines(event(number) for number in range(count))


@cache
def digits_for(ratio: float) -> int:
    """As few random digits as keep zstd below `ratio`."""
    for digits in range(0, 65):
        body = alike(500, digits)
        if len(body) / len(zstded(body)) < ratio:
            return digits
    raise AssertionError(ratio)


def inflating(ratio: float) -> bytes:
    """500 valid events in zstd, which become nearly so many times as large."""
    return zstded(alike(500, digits_for(ratio)))


def zeros_gzipped(mib: int = 100) -> bytes:
    """A thousandth of what it inflates to."""
    packer, block = zlib.compressobj(9, wbits=31), bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(mib)) + packer.flush()


def empty_members(count: int) -> bytes:
    """So many gzip streams one behind the other, and an event in the last."""
    return gzip.compress(b"", mtime=0) * count + gzip.compress(ordinary(), mtime=0)


def byte_chunks(body: bytes) -> bytes:
    """A chunked body with a byte in each chunk."""
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
