"""kill -9 of the client's process and of the gateway, again and again: what `track` returned for is in the lake once.

    LAKEGATE_KILL_EVENTS=100000 LAKEGATE_KILLS=20    the full run: `make python-kill`
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from gateway import wait_until
from lessons import wait_for_lake

EVENTS = int(os.environ.get("LAKEGATE_KILL_EVENTS", "12000"))
KILLS = int(os.environ.get("LAKEGATE_KILLS", "4"))
# A line of the ledger: an event_uuid.
LINE = 37


def test_every_event_that_track_returned_for_is_in_the_lake_once(gateways, tmp_path):
    gateway, chance = gateways(), random.Random(17)
    gateway.arguments[gateway.arguments.index("--listen") + 1] = f"127.0.0.1:{gateway.port}"
    queue, ledger = tmp_path / "queue", tmp_path / "ledger"
    ledger.touch()
    began = time.monotonic()

    def tracked() -> int:
        return ledger.stat().st_size // LINE

    def start(events: int) -> subprocess.Popen:
        program = Path(__file__).with_name("kill_client.py")
        command = [sys.executable, str(program), gateway.url, str(gateway.certificate), str(queue), str(ledger), str(events)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=(tmp_path / "stderr").open("ab"))

    # Both kinds of kill in a random order, each after some more events.
    kills = ["client", "gateway"] * KILLS
    chance.shuffle(kills)
    share = EVENTS // (len(kills) + 1)
    client = start(EVENTS * 2)
    try:
        for index, victim in enumerate(kills):
            wanted = index * share + chance.randrange(1, share + 1)
            wait_until(lambda: f"{tracked()} of {wanted} tracked", 60, lambda: tracked() >= wanted)
            # Some of them hit a start, a recovery, or a moment at which the other one is away too.
            if victim == "client":
                client.kill()
                client.wait()
                client = start(EVENTS * 2)
            else:
                gateway.process.kill()
                gateway.process.wait()
                gateway.start()
        wait_until(lambda: f"{tracked()} of {EVENTS} tracked", 60, lambda: tracked() >= EVENTS)
        client.kill()
        client.wait()
        client = start(8)
        assert client.wait(120) == 0
    finally:
        client.kill()
        client.wait()
    returned = ledger.read_text().split()
    assert len(returned) >= EVENTS and len(set(returned)) == len(returned)
    times = Counter(wait_for_lake(gateway, set(returned), 60))
    assert not [event for event, count in times.items() if count > 1], "doubled"
    # An event whose process died between the sync and the ledger may be there too: a few for each kill.
    assert len(times) - len(returned) <= (KILLS + 1) * 16
    assert [file.name for file in queue.iterdir()] == [], "nothing is left"
    print(f"{len(returned)} events, {KILLS + 1} kills of the client, {KILLS} of the gateway: 0 lost, 0 doubled, "
          f"{len(times) - len(returned)} beyond the ledger, in {time.monotonic() - began:.1f} s")
