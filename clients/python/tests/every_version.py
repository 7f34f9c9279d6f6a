"""Run by each Python that is supported, without pytest: the package as it is installed, in memory, on disk and in asyncio.

    every_version.py URL CAFILE QUEUE
"""

import asyncio
import os
import sys
import threading
import uuid

import lakegate

url, cafile, queue = sys.argv[1:]
rejected = []


def fields(number):
    return {"lesson_id": f"l-{number}", "course_id": "c-1", "student_id": str(uuid.UUID(int=number)), "attempt_number": 1}


for folder in (None, queue):
    with lakegate.Client(url, "dev", cafile=cafile, queue=folder, on_rejected=rejected.append) as lake:
        threads = [threading.Thread(target=lambda: [lake.track("lesson:started", fields(n)) for n in range(50)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lake.track("lesson:started", fields(1), student_id="Maria")
        assert lake.flush(30), lake.stats()
        assert (lake.stats().accepted, lake.stats().rejected, len(rejected)) == (150, 1, 1), lake.stats()
        rejected.clear()
        child = os.fork()
        if child == 0:
            lake.track("lesson:started", fields(2))
            os._exit(lake.close(30) or lake.stats().accepted - 1)
        assert os.waitpid(child, 0)[1] == 0


async def main():
    async with lakegate.Client(url, "dev", cafile=cafile, queue=queue) as lake:
        await lake.atrack("lesson:started", fields(3))
        assert await lake.aflush(30) and lake.stats().accepted == 1


asyncio.run(main())
assert os.listdir(queue) == [], os.listdir(queue)
print("ok", lakegate.__version__, ".".join(map(str, sys.version_info[:2])))
