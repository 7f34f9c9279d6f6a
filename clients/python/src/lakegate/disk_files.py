"""The files of the queue on disk, and how their bytes are read.

    QUEUE/                        the folder that the user names; any number of processes share it
      4711-9f3c2a7be01d/          of one process (its id, and chance); whoever holds the lock may read and remove it
        lock                      flock, held for life: the system frees it when the process dies, in whatever way
        00000001.events           a line for each event: CRC-32 of the rest in hexadecimal, a space, the event as JSON
        00000001.settled          lines of the same form that say which lines of .events are settled: `first-last`
      rejected.ndjson             what the gateway neither took nor keeps, with the reason
      damaged.lines               lines whose CRC-32 is wrong, as they were

`.events` is synced before `track` returns. `.settled` is not: what it lacks after a power cut is sent again, and a duplicate.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import Iterable, List, Optional, Set, Tuple

EVENTS, SETTLED, LOCK = ".events", ".settled", "lock"
REJECTED, DAMAGED = "rejected.ndjson", "damaged.lines"
FOLDER = re.compile(r"\d+-[0-9a-f]{12}")
_SEGMENT = re.compile(r"(\d{8})\.events")
_RANGE = re.compile(rb"(\d+)-(\d+)")


def events_file(folder: Path, segment: int) -> Path:
    return folder / f"{segment:08}{EVENTS}"


def settled_file(folder: Path, segment: int) -> Path:
    return folder / f"{segment:08}{SETTLED}"


def segments(folder: Path) -> List[int]:
    """The segments of a folder, the oldest first."""
    found = (_SEGMENT.fullmatch(name) for name in os.listdir(folder))
    return sorted(int(match[1]) for match in found if match)


def line_of(data: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(data), data)


def data_of(line: bytes) -> Optional[bytes]:
    """What a line without its end holds; None where it is damaged."""
    data = line[9:]
    return data if line[:9] == b"%08x " % zlib.crc32(data) else None


def read_lines(path: Path, offset: int, until: Optional[int], bytes_max: int) -> Tuple[List[bytes], int, bool]:
    """Whole lines from `offset` on, where the next begin, and whether that is the end.

    A line without an end is torn: its `track` never returned, so it is left where it is.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        wanted = bytes_max if until is None else min(bytes_max, until - offset)
        chunk = file.read(wanted)
    is_end = len(chunk) < bytes_max
    whole = chunk.rfind(b"\n") + 1
    if whole == 0 and not is_end:
        # Longer than any line: damaged, and passed over in pieces.
        return [chunk], offset + len(chunk), False
    return chunk[:whole].split(b"\n")[:-1], offset + whole, is_end


def read_settled(path: Path) -> Set[int]:
    """The lines that are settled. A damaged line of this file settles nothing."""
    settled: Set[int] = set()
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return settled
    for line in text.split(b"\n")[:-1]:
        match = _RANGE.fullmatch(data_of(line) or b"")
        if match:
            settled.update(range(int(match[1]), int(match[2]) + 1))
    return settled


def settled_lines(numbers: Iterable[int]) -> bytes:
    """What `.settled` says of these lines."""
    text, first, last = b"", -1, -2
    for number in [*sorted(numbers), -1]:
        if number != last + 1 or number == -1:
            if first >= 0:
                text += line_of(b"%d-%d" % (first, last))
            first = number
        last = number
    return text


def sync(descriptor: int) -> None:
    """Returns when the file's bytes outlast a power cut."""
    import fcntl

    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        # macOS: fsync leaves the bytes in the drive.
        fcntl.fcntl(descriptor, full)
    else:
        getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_folder(folder: Path) -> None:
    """Returns when the folder's names outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, text: bytes, synced: bool) -> None:
    """Appends in one write, so that several processes may."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        written = os.write(descriptor, text)
        if written < len(text):
            os.write(descriptor, text[written:])
        if synced:
            sync(descriptor)
    finally:
        os.close(descriptor)
