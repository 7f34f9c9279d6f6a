"""The queue on disk: after `put` an event outlives kill -9 and a power cut. `disk_files` is the format.

Each process has a folder of its own, so that the workers of a server share a queue without waiting for each other. What a dead
process left is taken over by any living one.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Container, Dict, List, Optional, Sequence

from .disk_files import DAMAGED, REJECTED, append, line_of
from .disk_folder import DiskFolder, left_folders, make_folder
from .disk_writer import DiskWriter
from .limits import ADOPTED_FOLDERS_MAX, ASIDE_BYTES_MAX, LINE_END_BYTES
from .memory_queue import Entry, Place
from .types import Closed, QueueFailed

log = logging.getLogger("lakegate")


class DiskQueue:
    """A `Queue` in files."""

    def __init__(self, path: Path) -> None:
        if os.name != "posix":
            raise NotImplementedError("the queue on disk needs flock, which this system does not have; the queue in memory works")
        self._path = path
        self._lock = threading.Lock()
        # The process's own folder is made by the first event: a process that forks workers may never have one.
        self._own: Optional[DiskFolder] = None
        self._writer: Optional[DiskWriter] = None
        self._bytes = 0
        # All folders by their numbers, in the order in which they came; the numbers are never used again.
        self._folders: Dict[int, DiskFolder] = {}
        self._next = 0
        self._own_is_first = False
        self._is_closed = False

    @property
    def waiting_events(self) -> int:
        with self._lock:
            own = self._writer.taken_in - self._settled if self._writer else 0
            return own + sum(folder.left for folder in self._folders.values() if folder.writer is None)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def request_bytes(self) -> int:
        # Without what was taken over, which waits like a new event.
        with self._lock:
            own = self._writer.taken_in - self._settled if self._writer else 0
            return self._bytes - own * (self.cost(b"") - LINE_END_BYTES)

    @property
    def taken_in(self) -> int:
        return self._writer.taken_in if self._writer else 0

    @property
    def settled_until(self) -> int:
        with self._lock:
            return self._own.settled_until if self._own else 0

    @property
    def _settled(self) -> int:
        # `left` of the own folder goes down from 0.
        return -self._own.left if self._own else 0

    def cost(self, data: bytes) -> int:
        return len(line_of(data))

    def put(self, data: bytes) -> None:
        writer = self._writer or self._open()
        writer.put(data)
        with self._lock:
            self._bytes += self.cost(data)

    def _open(self) -> DiskWriter:
        with self._lock:
            if self._is_closed:
                raise Closed("the client is closed")
            if self._writer is None:
                try:
                    path, lock = make_folder(self._path)
                except OSError as error:
                    raise QueueFailed(f"{self._path}: {error}") from error
                writer = DiskWriter(path)
                self._own = self._add(path, lock, writer)
                self._writer = writer
            return self._writer

    def _add(self, path: Path, lock: int, writer: Optional[DiskWriter]) -> DiskFolder:
        folder = DiskFolder(path, lock, self._next, writer, self._set_aside)
        self._folders[self._next] = folder
        self._next += 1
        return folder

    def oldest(self, events_max: int, bytes_max: int, but: Container[Place] = ()) -> List[Entry]:
        found: List[Entry] = []
        with self._lock:
            # In turns, so that neither a large backlog of a dead process nor a steady stream of new events keeps the other waiting.
            self._own_is_first = not self._own_is_first
            order = sorted(self._folders.items(), key=lambda item: (item[1] is self._own) != self._own_is_first)
            for index, folder in order:
                passed_over = sum(place in but for place in folder.waiting)
                while len(folder.waiting) - passed_over < events_max and folder.load():
                    pass
                for place, data in folder.waiting.items():
                    if place in but:
                        continue
                    bytes_max -= len(data) + 1
                    if found and (len(found) == events_max or bytes_max < 0):
                        return found
                    found.append(Entry(place, data))
                self._remove_if_empty(index)
        return found

    def _remove_if_empty(self, index: int) -> None:
        folder = self._folders[index]
        if folder.writer is None and folder.is_empty:
            del self._folders[index]
            folder.remove()

    def settle(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            if self._is_closed:
                return
            for index, folder in list(self._folders.items()):
                size = folder.settle([entry.place for entry in entries if entry.place[0] == index])
                if folder is self._own:
                    self._bytes -= size
                self._remove_if_empty(index)

    def look_around(self) -> None:
        with self._lock:
            held = {folder.path for folder in self._folders.values()}
            for path, lock in left_folders(self._path, held):
                if self._is_closed or len(self._folders) > ADOPTED_FOLDERS_MAX:
                    os.close(lock)
                    return
                try:
                    folder = self._add(path, lock, None)
                except OSError:
                    os.close(lock)
                    raise
                if folder.left:
                    log.info("lakegate: took over %d events that a dead process left in %s", folder.left, path)
                self._remove_if_empty(self._next - 1)

    def keep_rejected(self, lines: Sequence[bytes]) -> bool:
        return self._keep(self._path / REJECTED, b"".join(line + b"\n" for line in lines))

    def _set_aside(self, line: bytes) -> None:
        kept = self._keep(self._path / DAMAGED, line + b"\n")
        log.error("lakegate: a line of the queue is damaged%s", f", and kept in {self._path / DAMAGED}" if kept else "")

    def _keep(self, path: Path, text: bytes) -> bool:
        try:
            if path.exists() and path.stat().st_size + len(text) > ASIDE_BYTES_MAX:
                log.error("lakegate: %s is full: look into it, then remove it", path)
                return False
            append(path, text, synced=True)
            return True
        except OSError as error:
            log.error("lakegate: %s cannot be written: %s", path, error)
            return False

    def abandon(self) -> None:
        # Closed, not unlocked: the lock is the parent's as long as the parent has it open.
        if self._writer:
            self._writer.abandon()
        for folder in self._folders.values():
            folder.release()

    def close(self) -> List[Entry]:
        with self._lock:
            if self._is_closed:
                return []
            self._is_closed = True
        # Without the lock, because those that are in `put` need it.
        if self._writer:
            self._writer.close()
        with self._lock:
            for folder in self._folders.values():
                # What is left stays, for the next process.
                if folder.is_empty:
                    folder.remove()
                else:
                    folder.release()
            self._folders.clear()
        return []
