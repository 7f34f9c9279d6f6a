"""The life of a client: full, closed, forked, in asyncio, at the end of its process."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest
from conftest import run
from gateway import wait_until
from lessons import NAME, in_lake, lesson, wait_for_lake

import lakegate

DISK = pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"
BEGIN = """
import os, sys, time
import lakegate
url, cafile, queue = sys.argv[1:4]
lake = lakegate.Client(url, "dev", cafile=cafile, queue=queue or None, flush_seconds=60)
def lesson(number):
    return dict(lesson_id=f"l-{number}", course_id="c-1", student_id="01a0c450-6c64-73df-9e8f-519b8c54b97d", attempt_number=1)
"""


def arguments(gateway, queue) -> list:
    return [gateway.url, gateway.certificate, queue or ""]


@DISK
def test_what_is_queued_is_sent_at_the_end_of_the_process(gateway, tmp_path, on_disk):
    queue = tmp_path / "queue" if on_disk else None
    # Also where nobody holds the client any more.
    done = run(BEGIN + "print(lake.track('lesson:started', lesson(1)))\ndel lake", *arguments(gateway, queue))
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert wait_for_lake(gateway, {done.stdout.strip()}) == [done.stdout.strip()]
    assert not on_disk or list(queue.iterdir()) == []


@DISK
def test_a_child_of_a_fork_sends_its_own_events_and_none_of_the_parents(gateway, tmp_path, on_disk):
    queue = tmp_path / "queue" if on_disk else None
    script = BEGIN + """
before = [lake.track('lesson:started', lesson(n)) for n in range(50)]
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        mine = [lake.track('lesson:started', lesson(n)) for n in range(50)]
        # In one write, because three children share the pipe.
        os.write(1, ('\\n'.join(mine) + '\\n').encode())
        stats = lake.stats()
        assert (stats.tracked, stats.requests) == (50, 0), stats
        assert lake.close(20) == 0 and stats.lost == 0
        assert lake.stats().accepted == 50 and lake.stats().duplicates == 0, lake.stats()
        os._exit(0)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
assert codes == [0, 0, 0], codes
after = [lake.track('lesson:started', lesson(n)) for n in range(50)]
print(*before, *after, sep='\\n')
assert lake.close(20) == 0
assert lake.stats().accepted == 100 and lake.stats().duplicates == 0, lake.stats()
"""
    done = run(script, *arguments(gateway, queue))
    assert done.returncode == 0, done.stderr
    tracked = done.stdout.split()
    assert len(tracked) == 250 == len(set(tracked))
    assert sorted(wait_for_lake(gateway, set(tracked))) == sorted(tracked)


@DISK
def test_a_fork_under_load_of_threads_neither_hangs_nor_doubles(gateway, tmp_path, on_disk):
    """The fork happens while other threads are in `track`, and the client's own in a request: their locks are gone in the child."""
    queue = tmp_path / "queue" if on_disk else None
    script = BEGIN.replace("flush_seconds=60", "flush_seconds=0, batch_events=20") + """
import threading
stop, tracked = False, []
def work():
    while not stop:
        tracked.append(lake.track('lesson:started', lesson(1)))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for turn in range(6):
    have = len(tracked)
    while len(tracked) < have + 10: time.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        mine = [lake.track('lesson:started', lesson(n)) for n in range(5)]
        assert lake.close(20) == 0
        assert lake.stats().accepted == 5 and lake.stats().duplicates == 0, lake.stats()
        os.write(1, ('\\n'.join(mine) + '\\n').encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
for thread in threads: thread.join()
assert lake.close(30) == 0
assert lake.stats().duplicates == 0 and lake.stats().accepted == len(tracked), lake.stats()
print(*tracked, sep='\\n')
"""
    done = run(script, *arguments(gateway, queue))
    assert done.returncode == 0, done.stderr
    tracked = done.stdout.split()
    assert sorted(wait_for_lake(gateway, set(tracked))) == sorted(tracked)


def in_pool(number: int) -> str:
    assert CLIENT is not None
    return CLIENT.track(NAME, lesson(number))


CLIENT: "lakegate.Client | None" = None


def test_workers_of_multiprocessing_send_what_they_have_when_they_end(gateway, client):
    """They end without atexit's functions, before Python 3.13."""
    global CLIENT
    CLIENT = client(flush_seconds=60)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        tracked = set(pool.map(in_pool, range(40)))
        pool.close()
        pool.join()
    assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)


def test_events_of_a_killed_process_are_sent_by_any_other_that_lives(gateway, client, tmp_path, monkeypatch):
    monkeypatch.setattr(lakegate.sender, "ADOPT_SECONDS", 0.1)
    queue = tmp_path / "queue"
    living = client(queue=queue)
    first = living.track(NAME, lesson(1))
    script = BEGIN + "print(lake.track('lesson:started', lesson(2)), flush=True); os.kill(os.getpid(), 9)"
    done = run(script, NOWHERE, "", queue)
    assert done.returncode == -9
    tracked = {first, done.stdout.strip()}
    assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)
    wait_until("its folder is gone", 10, lambda: len(list(queue.iterdir())) == 1)


def test_asyncio_tracks_flushes_and_closes_without_blocking_the_loop(gateway, tmp_path):
    async def ticks(of: list) -> None:
        while True:
            of.append(time.monotonic())
            await asyncio.sleep(0.005)

    async def main() -> set:
        beats: list = []
        heart = asyncio.create_task(ticks(beats))
        async with lakegate.Client(gateway.url, "dev", cafile=gateway.certificate, queue=tmp_path / "queue") as lake:
            tracked = set(await asyncio.gather(*(lake.atrack(NAME, lesson(number)) for number in range(200))))
            assert await lake.aflush(20)
            # Nobody answers for half a second: the loop does not notice.
            os.kill(gateway.process.pid, 19)
            try:
                tracked.add(await lake.atrack(NAME, lesson(1)))
                assert await lake.aflush(0.5) is False
            finally:
                os.kill(gateway.process.pid, 18)
        heart.cancel()
        assert max(later - earlier for earlier, later in zip(beats, beats[1:])) < 0.4, "the loop was blocked"
        return tracked

    tracked = asyncio.run(main())
    assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)


@DISK
def test_track_does_not_wait_for_a_gateway_that_does_not_answer(gateway, client, tmp_path, on_disk):
    lake = client(queue=tmp_path / "queue" if on_disk else None, flush_seconds=0)
    os.kill(gateway.process.pid, 19)
    try:
        began = time.monotonic()
        for number in range(50):
            lake.track(NAME, lesson(number))
        assert time.monotonic() - began < 2
        assert lake.close(0.2) > 0
    finally:
        os.kill(gateway.process.pid, 18)


class TestFull:
    """As many bytes wait as may."""

    @DISK
    def test_drop_counts_and_tells_each_that_is_dropped(self, tmp_path, on_disk):
        lost = []
        lake = lakegate.Client(NOWHERE, queue=tmp_path / "q" if on_disk else None, queue_bytes_max=3000, when_full="drop", on_lost=lost.append)
        tracked = [lake.track(NAME, lesson(number)) for number in range(50)]
        kept = lake.stats().queued
        assert 0 < kept < 50 and lake.stats().lost == len(lost) == 50 - kept
        assert [one.event["event_uuid"] for one in lost] == tracked[kept:] and {one.reason for one in lost} == {"queue_full"}
        lake.close(0)

    @DISK
    def test_raise_tells_at_once_and_counts_nothing(self, tmp_path, on_disk):
        lake = lakegate.Client(NOWHERE, queue=tmp_path / "q" if on_disk else None, queue_bytes_max=1000, when_full="raise")
        with pytest.raises(lakegate.QueueFull):
            for number in range(50):
                lake.track(NAME, lesson(number))
        assert lake.stats().tracked == lake.stats().queued and lake.stats().lost == 0
        lake.close(0)

    def test_block_waits_for_room_and_then_raises(self, gateway, client):
        lake = client(queue_bytes_max=1000, when_full="block", block_seconds=20, flush_seconds=0)
        tracked = {lake.track(NAME, lesson(number)) for number in range(40)}
        assert lake.flush(20)
        assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)
        lake = lakegate.Client(NOWHERE, queue_bytes_max=1000, when_full="block", block_seconds=0.3)
        began = time.monotonic()
        with pytest.raises(lakegate.QueueFull):
            for number in range(50):
                lake.track(NAME, lesson(number))
        assert 0.3 <= time.monotonic() - began < 5
        lake.close(0)

    def test_without_a_choice_memory_drops_and_disk_raises(self, tmp_path):
        for queue, expected in ((None, "drop"), (tmp_path / "q", "raise")):
            lake = lakegate.Client(NOWHERE, queue=queue)
            assert lake._when_full == expected
            lake.close(0)
        with pytest.raises(ValueError, match="when_full"):
            lakegate.Client(NOWHERE, when_full="wait")  # type: ignore[arg-type]

    def test_a_disk_that_fails_raises_or_is_told(self, tmp_path):
        for when_full in ("raise", "drop"):
            lost = []
            lake = lakegate.Client(NOWHERE, queue=tmp_path / when_full, when_full=when_full, on_lost=lost.append)
            (tmp_path / when_full).rmdir()
            if when_full == "raise":
                with pytest.raises(lakegate.QueueFailed):
                    lake.track(NAME, lesson(1))
            else:
                lake.track(NAME, lesson(1))
                assert [one.reason for one in lost] == ["queue_failed"]
            lake.close(0)


def test_close_tells_what_memory_loses_and_disk_keeps(gateway, client, tmp_path):
    lost = []
    lake = lakegate.Client(NOWHERE, on_lost=lost.append)
    tracked = [lake.track(NAME, lesson(number)) for number in range(3)]
    assert lake.close(0.2) == 3
    assert [one.event["event_uuid"] for one in lost] == tracked and {one.reason for one in lost} == {"closed"}
    assert lake.close() == 0, "a second close does nothing"
    with pytest.raises(lakegate.Closed):
        lake.track(NAME, lesson(1))
    lake = lakegate.Client(NOWHERE, queue=tmp_path / "queue", on_lost=lost.append)
    kept = {lake.track(NAME, lesson(number)) for number in range(3)}
    assert lake.close(0.2) == 3 and len(lost) == 3
    # The next one sends them without any event of its own.
    heir = client(queue=tmp_path / "queue")
    assert heir.stats().queued == 3
    assert sorted(wait_for_lake(gateway, kept)) == sorted(kept)


def test_threads_that_track_while_another_closes_are_told_or_counted(gateway, client, tmp_path):
    for queue in (None, tmp_path / "queue"):
        lake = client(queue=queue, flush_seconds=0)
        tracked: list = []
        told: list = []

        def work():
            try:
                while True:
                    tracked.append(lake.track(NAME, lesson(len(tracked))))
            except lakegate.Closed as error:
                told.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until("all run", 10, lambda: len(tracked) > 100)
        left = lake.close(20)
        for thread in threads:
            thread.join(10)
        assert len(told) == 4
        if queue is not None and left:
            client(queue=queue)
        if queue is not None or lake.stats().lost == 0:
            assert sorted(set(wait_for_lake(gateway, set(tracked))) & set(tracked)) == sorted(tracked)


def test_callbacks_that_fail_or_call_the_client_do_no_harm(gateway, client):
    def on_rejected(one):
        assert lake.flush(20) is False
        lake.track(NAME, lesson(5))
        raise ValueError("mine")

    lake = client(on_rejected=on_rejected)
    lake.track("no:such:event")
    wait_until("its second event is sent", 20, lambda: lake.stats().accepted == 1)
    assert lake.stats().rejected == 1 and len(in_lake(gateway)) <= 1


def test_import_and_configure_keep_no_state_that_nobody_asked_for(gateway):
    before = set(threading.enumerate())
    subprocess.run([sys.executable, "-c", "import lakegate, threading; assert threading.active_count() == 1"], check=True)
    with pytest.raises(lakegate.LakegateError, match="configure"):
        lakegate.track(NAME, lesson(1))
    lake = lakegate.configure(gateway.url, "dev", cafile=gateway.certificate)
    assert set(threading.enumerate()) == before, "no thread before the first event"
    tracked = lakegate.track(NAME, lesson(1))
    assert lake.flush(20) and wait_for_lake(gateway, {tracked}) == [tracked]
    lake.close()
