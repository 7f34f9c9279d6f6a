"""The folder of one process in the queue on disk: its lock, and the end at which events are taken out."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from .disk_files import (
    FOLDER, LOCK, SETTLED, append, data_of, events_file, line_of, read_lines, read_settled, segments, settled_file,
    settled_lines, sync_folder,
)
from .disk_writer import DiskWriter
from .limits import READ_BYTES, UNLOCKED_FOLDER_SECONDS

log = logging.getLogger("lakegate")


def make_folder(queue: Path) -> Tuple[Path, int]:
    """A new folder in the queue, and its lock."""
    while True:
        folder = queue / f"{os.getpid()}-{secrets.token_hex(6)}"
        folder.mkdir(mode=0o700)
        lock = _locked(folder, os.O_CREAT | os.O_EXCL)
        # Between the two steps another process may take the empty folder for a dead one's.
        if lock is not None:
            sync_folder(queue)
            return folder, lock


def left_folders(queue: Path, held: Set[Path]) -> Iterator[Tuple[Path, int]]:
    """Folders of dead processes, each with its lock, which is ours now."""
    for name in sorted(os.listdir(queue)):
        folder = queue / name
        if not FOLDER.fullmatch(name) or folder in held:
            continue
        if not (folder / LOCK).exists():
            _remove_unlocked(folder)
            continue
        lock = _locked(folder, 0)
        if lock is not None:
            yield folder, lock


def _locked(folder: Path, flags: int) -> Optional[int]:
    import fcntl

    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before may have removed the folder meanwhile.
        if os.fstat(descriptor).st_nlink > 0:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _remove_unlocked(folder: Path) -> None:
    """A process died while it made or removed the folder: no event is in it, or it is not removed."""
    try:
        if time.time() - folder.stat().st_mtime > UNLOCKED_FOLDER_SECONDS:
            folder.rmdir()
    except OSError:
        pass


class DiskFolder:
    """Reads the segments of a folder in order, and removes those that are settled. Of one thread at a time."""

    def __init__(self, path: Path, lock: int, index: int, writer: Optional[DiskWriter], set_aside: Callable[[bytes], None]) -> None:
        self.path = path
        # The process's own folder is still written.
        self.writer = writer
        self._index, self._lock, self._set_aside = index, lock, set_aside
        # Read and not settled, in order.
        self.waiting: OrderedDict[Tuple[int, int, int], bytes] = OrderedDict()
        self._open: Dict[int, int] = {}
        # Segments that are read to their end, and hold events that wait.
        self._read_whole: Set[int] = set()
        # Where reading goes on.
        self._segment, self._offset, self._line, self._is_at_end = 0, 0, 0, True
        self._settled: Set[int] = set()
        # Of a dead process: what it left.
        self.left = 0 if writer else sum(self._count(segment) for segment in segments(path))

    def _count(self, segment: int) -> int:
        offset, count, is_end = 0, 0, False
        while not is_end:
            lines, offset, is_end = read_lines(events_file(self.path, segment), offset, None, READ_BYTES)
            count += len(lines)
        return count - len(read_settled(settled_file(self.path, segment)))

    @property
    def settled_until(self) -> int:
        """Of the own folder: how many events from the first on are settled without a gap."""
        assert self.writer is not None
        place = next(iter(self.waiting), None)
        segment, line = (place[1], place[2]) if place else (self._segment, self._line)
        return self.writer.bases.get(segment, 0) + line

    def load(self) -> bool:
        """Reads some more events. False where there are no more now."""
        if not self._find_segment():
            return False
        # In this order: the end of a segment is final only once it was seen to be closed.
        is_closed = self.writer is None or self._segment < self.writer.segment
        until = self.writer.ends[self._segment][0] if self.writer else None
        file = events_file(self.path, self._segment)
        try:
            lines, self._offset, is_end = read_lines(file, self._offset, until, READ_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # Bad blocks cost their own segment only. What is in it stays for a person.
            file.rename(file.with_suffix(".unreadable"))
            log.error("lakegate: %s cannot be read (%s), and is kept as .unreadable", file, error)
            lines, is_end, is_closed = [], True, True
        damaged: List[int] = []
        for line in lines:
            number = self._line
            self._line += 1
            if number in self._settled:
                continue
            data = data_of(line)
            if data is None:
                damaged.append(number)
                self._set_aside(line)
            else:
                self.waiting[self._index, self._segment, number] = data
                self._open[self._segment] = self._open.get(self._segment, 0) + 1
        if damaged:
            self.left -= len(damaged)
            self._note_settled(self._segment, damaged)
        if is_end and is_closed:
            self._is_at_end = True
            self._read_whole.add(self._segment)
            self._remove_if_settled(self._segment)
        return bool(lines) or (is_end and is_closed)

    def _find_segment(self) -> bool:
        """Whether there is a segment to read on in."""
        if not self._is_at_end:
            return True
        if self.writer:
            following = self._segment + 1 if self._segment < self.writer.segment else None
        else:
            following = next((segment for segment in segments(self.path) if segment > self._segment), None)
        if following is None:
            return False
        self._segment, self._offset, self._line, self._is_at_end = following, 0, 0, False
        self._settled = set() if self.writer else read_settled(settled_file(self.path, following))
        return True

    def settle(self, places: Sequence[Tuple[int, int, int]]) -> int:
        """Forgets events, on disk too. Gives their bytes."""
        size = 0
        of_segment: Dict[int, List[int]] = {}
        for place in places:
            data = self.waiting.pop(place, None)
            if data is not None:
                size += len(line_of(data))
                self.left -= 1
                of_segment.setdefault(place[1], []).append(place[2])
        for segment, lines in of_segment.items():
            self._open[segment] -= len(lines)
            if not self._remove_if_settled(segment):
                self._note_settled(segment, lines)
        return size

    def _note_settled(self, segment: int, lines: List[int]) -> None:
        try:
            append(settled_file(self.path, segment), settled_lines(lines), synced=False)
        except OSError as error:
            log.warning("lakegate: %s: %s. After a restart some events are sent again, and are duplicates", self.path, error)

    def _remove_if_settled(self, segment: int) -> bool:
        if segment not in self._read_whole or self._open.get(segment, 0) > 0:
            return False
        self._open.pop(segment, None)
        self._read_whole.discard(segment)
        # In this order: without the other file the events would be sent again.
        events_file(self.path, segment).unlink(missing_ok=True)
        settled_file(self.path, segment).unlink(missing_ok=True)
        return True

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left in the folder."""
        while not self.waiting and self.load():
            pass
        return not self.waiting

    def remove(self) -> None:
        """Removes the folder, in which no event waits, and frees its lock."""
        for name in os.listdir(self.path):
            if name.endswith(SETTLED):
                (self.path / name).unlink()
        for segment in segments(self.path) if self.writer else []:
            events_file(self.path, segment).unlink()
        (self.path / LOCK).unlink()
        self.path.rmdir()
        self.release()

    def release(self) -> None:
        """Lets go of the lock: another process may have what is left."""
        os.close(self._lock)
