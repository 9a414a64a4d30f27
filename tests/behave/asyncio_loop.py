"""asyncio inside one process: tasks, timeouts, executor threads, pipes, queues."""
# behave: options --threads 8
import asyncio
import os
import time


async def main():
    start = time.monotonic()
    print(await asyncio.gather(*(asyncio.sleep(0.02, i) for i in range(50))))
    print(time.monotonic() - start < 60)
    try:
        await asyncio.wait_for(asyncio.sleep(100), 0.02)
    except asyncio.TimeoutError:
        print("timeout")
    loop = asyncio.get_running_loop()
    print(await asyncio.gather(*(loop.run_in_executor(None, pow, 2, i) for i in range(5))))
    r, w = os.pipe()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(r, "rb"))
    loop.call_later(0.01, os.write, w, b"line\nrest")
    print(await reader.readline())
    os.close(w)
    print(await reader.read())
    queue = asyncio.Queue(2)

    async def produce():
        for i in range(5):
            await queue.put(i)
        await queue.put(None)

    task = asyncio.create_task(produce())
    while (item := await queue.get()) is not None:
        print(item, end=" ")
    await task
    print()
    task = asyncio.create_task(asyncio.sleep(100))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled")


asyncio.run(main())
