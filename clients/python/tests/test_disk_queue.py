"""The queue on disk: what `put` took is there again, whatever ends the process and whatever is damaged."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import run
from gateway import wait_until

import lakegate.disk_writer
from lakegate import Closed, QueueFailed
from lakegate.disk_files import line_of, read_settled, settled_lines
from lakegate.disk_queue import DiskQueue
from lakegate.memory_queue import MemoryQueue


def all_of(queue: DiskQueue) -> list[bytes]:
    """Takes and settles everything."""
    found: list[bytes] = []
    while batch := queue.oldest(7, 10_000):
        found += [entry.data for entry in batch]
        queue.settle(batch)
    return found


def opened(path: Path) -> DiskQueue:
    queue = DiskQueue(path)
    queue.look_around()
    return queue


def died(queue: DiskQueue) -> None:
    """Lets go of the locks as the end of the process would: nothing is written any more."""
    queue.abandon()


def own_file(path: Path, ending: str = "events") -> Path:
    (file,) = path.glob(f"*/*.{ending}")
    return file


EVENTS = [b'{"number":%d,"text":"%b"}' % (number, b"x" * (number % 37)) for number in range(60)]


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "queue"
    folder.mkdir()
    return folder


def test_events_come_out_in_order_once_and_leave_no_file(path):
    queue = opened(path)
    for event in EVENTS:
        queue.put(event)
    assert (queue.waiting_events, queue.taken_in) == (60, 60)
    assert all_of(queue) == EVENTS
    assert (queue.waiting_events, queue.waiting_bytes, queue.settled_until) == (0, 0, 60)
    queue.close()
    assert list(path.iterdir()) == []


def test_what_is_not_settled_is_given_again_before_the_rest(path):
    queue = opened(path)
    for event in EVENTS[:6]:
        queue.put(event)
    batch = queue.oldest(4, 10_000)
    queue.settle([batch[0], batch[2]])
    assert [entry.data for entry in queue.oldest(3, 10_000)] == [EVENTS[1], EVENTS[3], EVENTS[4]]
    assert queue.settled_until == 1


def test_a_dead_processs_events_are_taken_over_without_those_that_were_settled(path):
    queue = opened(path)
    for event in EVENTS:
        queue.put(event)
    queue.settle(queue.oldest(20, 10_000))
    batch = queue.oldest(10, 10_000)
    queue.settle(batch[3:5])
    died(queue)
    heir = opened(path)
    assert heir.waiting_events == 38
    assert all_of(heir) == EVENTS[20:23] + EVENTS[25:]
    heir.close()
    assert list(path.iterdir()) == []


def test_a_living_processs_events_are_left_alone(path):
    queue = opened(path)
    queue.put(EVENTS[0])
    other = opened(path)
    assert other.waiting_events == 0 and other.oldest(10, 10_000) == []
    other.put(EVENTS[1])
    assert all_of(other) == [EVENTS[1]]
    assert all_of(queue) == [EVENTS[0]]


def test_many_files_are_written_read_and_removed(path, monkeypatch):
    monkeypatch.setattr(lakegate.disk_writer, "SEGMENT_BYTES", 200)
    queue = opened(path)
    for event in EVENTS:
        queue.put(event)
    files = len(list(path.glob("*/*.events")))
    assert files > 10
    queue.settle(queue.oldest(30, 100_000))
    assert len(list(path.glob("*/*.events"))) < files
    died(queue)
    heir = opened(path)
    assert all_of(heir) == EVENTS[30:]
    heir.close()
    assert list(path.iterdir()) == []


def test_a_reader_beside_many_writers_misses_nothing_where_files_end(path, monkeypatch):
    monkeypatch.setattr(lakegate.disk_writer, "SEGMENT_BYTES", 300)
    queue, found = opened(path), []
    numbers = [[b"%d-%d" % (thread, number) for number in range(400)] for thread in range(6)]
    threads = [threading.Thread(target=lambda mine=mine: [queue.put(data) for data in mine]) for mine in numbers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found += all_of(queue)
    found += all_of(queue)
    assert sorted(found) == sorted(sum(numbers, []))
    assert (queue.settled_until, queue.waiting_events, queue.waiting_bytes) == (2400, 0, 0)
    assert len(list(path.glob("*/*.events"))) <= 1


def test_a_file_that_ends_while_it_is_read_is_read_to_its_end(path, monkeypatch):
    """The writer adds a line and begins the next file between two looks of the reader."""
    monkeypatch.setattr(lakegate.disk_writer, "SEGMENT_BYTES", 10)
    queue = opened(path)
    queue.put(EVENTS[0])
    writer = queue._writer

    class Ends(dict):
        def __getitem__(self, segment):
            seen = super().__getitem__(segment)
            if threading.current_thread() is reader and not more.is_set():
                more.set()
                done.wait(10)
            return seen

    def write():
        more.wait(10)
        # As if the first file had room for one more.
        monkeypatch.setattr(lakegate.disk_writer, "SEGMENT_BYTES", 1000)
        writer.put(EVENTS[1])
        monkeypatch.setattr(lakegate.disk_writer, "SEGMENT_BYTES", 10)
        writer.put(EVENTS[2])
        done.set()

    more, done, found = threading.Event(), threading.Event(), []
    writer.ends = Ends(writer.ends)
    reader = threading.Thread(target=lambda: found.extend(all_of(queue) + all_of(queue)))
    helper = threading.Thread(target=write)
    helper.start(), reader.start()
    helper.join(20), reader.join(20)
    assert found == EVENTS[:3]


def test_a_file_that_is_cut_at_any_byte_gives_each_whole_line(path, tmp_path):
    queue = opened(path)
    for event in EVENTS[:5]:
        queue.put(event)
    died(queue)
    text = own_file(path).read_bytes()
    for length in range(len(text) + 1):
        cut = tmp_path / "cut"
        shutil.copytree(path, cut)
        os.truncate(own_file(cut), length)
        heir = opened(cut)
        assert all_of(heir) == EVENTS[: text[:length].count(b"\n")], length
        # And the queue goes on.
        heir.put(b"new")
        assert all_of(heir) == [b"new"]
        heir.close()
        assert list(cut.iterdir()) == []
        shutil.rmtree(cut)


def test_any_damage_costs_the_lines_that_it_touches_and_they_are_set_aside(path, tmp_path):
    queue = opened(path)
    for event in EVENTS[:8]:
        queue.put(event)
    died(queue)
    text = own_file(path).read_bytes()
    originals, chance = {line_of(event)[:-1]: event for event in EVENTS[:8]}, random.Random(3)
    for round_number in range(150):
        at = chance.randrange(len(text))
        damaged = bytearray(text)
        damaged[at] ^= 1 << chance.randrange(8)
        if round_number % 3 == 0:
            damaged[at : at + chance.randrange(60)] = b"\0" * 20
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        own_file(copy).write_bytes(damaged)
        heir = opened(copy)
        lines = bytes(damaged).split(b"\n")[:-1]
        whole = [originals[line] for line in lines if line in originals]
        assert all_of(heir) == whole
        assert len(whole) >= 8 - 1 - (3 if round_number % 3 == 0 else 1)
        aside = copy / "damaged.lines"
        assert (aside.read_bytes() if aside.exists() else b"") == b"".join(line + b"\n" for line in lines if line not in originals)
        heir.close()
        # What is damaged is set aside once, and not again by the next process.
        size = aside.stat().st_size if aside.exists() else 0
        assert all_of(opened(copy)) == [] and (aside.stat().st_size if aside.exists() else 0) == size
        shutil.rmtree(copy)


def test_a_damaged_note_of_what_is_settled_costs_a_duplicate_and_no_event(path, tmp_path):
    queue = opened(path)
    for event in EVENTS[:8]:
        queue.put(event)
    queue.settle(queue.oldest(5, 10_000))
    died(queue)
    text = own_file(path, "settled").read_bytes()
    assert read_settled(own_file(path, "settled")) == set(range(5))
    for length in range(len(text)):
        cut = tmp_path / "cut"
        shutil.copytree(path, cut)
        os.truncate(own_file(cut, "settled"), length)
        assert all_of(opened(cut)) == EVENTS[:8]
        shutil.rmtree(cut)


def test_notes_of_what_is_settled_hold_any_set(tmp_path):
    chance = random.Random(1)
    file = tmp_path / "00000001.settled"
    for _ in range(200):
        numbers = set(chance.sample(range(50), chance.randrange(1, 50)))
        file.write_bytes(settled_lines(numbers))
        assert read_settled(file) == numbers


def test_threads_share_their_syncs_and_each_returns_after_its_own(path, monkeypatch):
    syncs = []
    real = lakegate.disk_writer.sync
    entered, go = threading.Event(), threading.Event()

    def slow(descriptor):
        entered.set()
        if not syncs:
            go.wait(10)
        syncs.append(own_file(path).read_bytes())
        real(descriptor)

    queue = opened(path)
    monkeypatch.setattr(lakegate.disk_writer, "sync", slow)
    returned: dict[bytes, int] = {}

    def put(event):
        queue.put(event)
        returned[event] = len(syncs)

    threads = [threading.Thread(target=put, args=(event,)) for event in EVENTS]
    threads[0].start()
    assert entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    wait_until("all wait", 10, lambda: len(queue._writer._waiters) == len(EVENTS) - 1)
    assert not returned, "nobody returns before the sync"
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(syncs) == 2, "the first, and one for all that waited meanwhile"
    for event, synced in returned.items():
        assert line_of(event) in syncs[synced - 1]
    assert sorted(all_of(queue)) == sorted(EVENTS)


def test_a_failed_sync_is_told_to_all_that_shared_it_and_the_next_event_has_a_new_file(path, monkeypatch):
    queue = opened(path)
    queue.put(EVENTS[0])

    def fails(_):
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as broken:
        broken.setattr(lakegate.disk_writer, "sync", fails)
        with pytest.raises(QueueFailed, match="no"):
            queue.put(EVENTS[1])
    queue.put(EVENTS[2])
    assert len(list(path.glob("*/*.events"))) == 2
    # What was refused is not sent by another process either, if the disk let it be cut off.
    assert b"".join(file.read_bytes() for file in sorted(path.glob("*/*.events"))) == line_of(EVENTS[0]) + line_of(EVENTS[2])
    assert all_of(queue) == [EVENTS[0], EVENTS[2]]
    assert queue.settled_until == 2


def test_a_full_disk_is_told_and_what_was_taken_before_and_after_is_kept(path):
    script = """
import resource, sys
from pathlib import Path
from lakegate import QueueFailed
from lakegate.disk_queue import DiskQueue
queue, taken, refused = DiskQueue(Path(sys.argv[1])), 0, 0
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for number in range(400):
    if number == 300:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    try:
        queue.put(b'{"number":%d,"text":"xxxxxxxxxxxxxxxxxxxxxxx"}' % number)
        print(number)
        taken += 1
    except QueueFailed:
        refused += 1
assert taken and refused, (taken, refused)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = run(script, path)
    assert done.returncode == 0, done.stderr
    taken = [int(line) for line in done.stdout.split()]
    assert taken[-100:] == list(range(300, 400)) and len(taken) < 400
    assert [int(data.split(b":")[1].split(b",")[0]) for data in all_of(opened(path))] == taken


def test_a_real_full_file_system_is_told_too(tmp_path):
    """A small tmpfs, in a mount namespace of its own."""
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from lakegate import QueueFailed
from lakegate.disk_queue import DiskQueue
path = Path(sys.argv[1])
queue, taken = DiskQueue(path), []
try:
    for number in range(100_000):
        queue.put(b'%d' % number + b'x' * 1000)
        taken.append(number)
except QueueFailed as error:
    assert 'space' in str(error), error
batch = queue.oldest(50, 10**9)
queue.settle(batch)
queue.abandon()
heir = DiskQueue(path)
heir.look_around()
found = []
while batch := heir.oldest(500, 10**9):
    found += [int(entry.data.split(b'x')[0]) for entry in batch]
    heir.settle(batch)
assert len(taken) > 100 and set(taken[50:]) <= set(found) <= set(taken), (len(taken), len(found))
print('ok')
"""
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"', "sh",
               str(tmp_path), sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mounts here; RLIMIT_FSIZE above tests the same")
    assert done.stdout == "ok\n", done.stderr


def test_two_processes_at_one_folder_and_their_heir_lose_and_double_nothing(path):
    script = """
import sys, time
from pathlib import Path
from lakegate.disk_queue import DiskQueue
queue = DiskQueue(Path(sys.argv[1]))
queue.look_around()
for number in range(10_000):
    queue.put(b"%b-%d" % (sys.argv[2].encode(), number))
    sys.stdout.write(f"{sys.argv[2]}-{number}\\n")
    sys.stdout.flush()
"""
    ledgers = [path.parent / name for name in "ab"]
    processes = []
    for ledger in ledgers:
        with ledger.open("w") as out:
            processes.append(subprocess.Popen([sys.executable, "-c", script, str(path), ledger.name], stdout=out))
    wait_until("both write", 30, lambda: all(ledger.stat().st_size > 2000 for ledger in ledgers))
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    taken = [line for ledger in ledgers for line in ledger.read_text().split("\n")[:-1]]
    # Two heirs at once: each folder goes to one of them.
    heirs = [opened(path), opened(path)]
    found = [data.decode() for heir in heirs for data in all_of(heir)]
    assert len(found) == len(set(found)) and set(taken) <= set(found)
    # At most the one event of each that was on disk before its `put` returned, or its line was written.
    assert len(found) <= len(taken) + 2


def test_a_child_after_a_fork_has_its_own_folder_and_does_not_hold_the_parents(path):
    queue = opened(path)
    queue.put(EVENTS[0])
    reader, writer = os.pipe()
    hold, release = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(release)
            queue.abandon()
            mine = DiskQueue(path)
            mine.put(EVENTS[1])
            os.write(writer, b"1")
            os.read(hold, 1)
        finally:
            os._exit(0)
    assert os.read(reader, 1) == b"1"
    assert len(list(path.glob("*/lock"))) == 2
    # The parent ends while the child lives: what it left is free.
    died(queue)
    heir = opened(path)
    assert all_of(heir) == [EVENTS[0]]
    os.close(release)
    os.waitpid(child, 0)
    os.close(reader), os.close(writer), os.close(hold)
    heir.look_around()
    assert all_of(heir) == [EVENTS[1]]


def test_a_closed_queue_takes_nothing_and_keeps_what_is_left(path):
    queue = opened(path)
    for event in EVENTS[:3]:
        queue.put(event)
    late = queue.oldest(3, 1000)
    queue.close()
    for closed in (queue, DiskQueue(path)):
        closed.close()
        with pytest.raises(Closed):
            closed.put(EVENTS[3])
    # An answer that comes after the close settles nothing: the folder may be another's.
    queue.settle(late)
    assert all_of(opened(path)) == EVENTS[:3]


def test_folders_that_are_none_of_the_queues_are_left_alone(path):
    (path / "mine").mkdir()
    (path / "12-0123456789ab").mkdir()
    (path / "note.txt").write_text("mine")
    queue = opened(path)
    queue.put(EVENTS[0])
    assert all_of(queue) == EVENTS[:1]
    queue.close()
    assert {entry.name for entry in path.iterdir()} == {"mine", "12-0123456789ab", "note.txt"}
    # A folder whose maker died before it had a lock goes when it is old.
    os.utime(path / "12-0123456789ab", (0, 0))
    opened(path)
    assert {entry.name for entry in path.iterdir()} == {"mine", "note.txt"}


def test_the_queue_in_memory_gives_the_same_order_and_the_same_counts():
    queue = MemoryQueue()
    for event in EVENTS[:6]:
        queue.put(event)
    batch = queue.oldest(4, 10_000)
    queue.settle([batch[0], batch[2]])
    assert [entry.data for entry in queue.oldest(3, 10_000)] == [EVENTS[1], EVENTS[3], EVENTS[4]]
    assert (queue.taken_in, queue.settled_until, queue.waiting_events) == (6, 1, 4)
    assert len(queue.oldest(10, 1)) == 1, "one event goes whatever its size"
    assert [entry.data for entry in queue.close()] == [EVENTS[index] for index in (1, 3, 4, 5)]
    with pytest.raises(Closed):
        queue.put(b"")
