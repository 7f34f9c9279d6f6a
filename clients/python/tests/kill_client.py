"""A process of test_kill.py: tracks events from several threads and writes each event_uuid down once `track` has returned.

    kill_client.py URL CAFILE QUEUE LEDGER EVENTS
"""

import os
import sys
import threading
import uuid

import lakegate

THREADS = 8


def main() -> None:
    url, cafile, queue, ledger, events = sys.argv[1:]
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    lake = lakegate.Client(url, "dev", cafile=cafile, queue=queue, flush_seconds=0.05)
    student = str(uuid.uuid4())

    def work() -> None:
        for number in range(int(events) // THREADS):
            tracked = lake.track("lesson:started", lesson_id=f"l-{number}", course_id="c-1", student_id=student, attempt_number=1)
            os.write(descriptor, tracked.encode() + b"\n")

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("tracked", flush=True)
    # To the end of what all dead processes left.
    while lake.stats().queued:
        lake.flush(1)
    lake.close()


if __name__ == "__main__":
    main()
