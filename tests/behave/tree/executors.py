"""concurrent.futures.ProcessPoolExecutor: map, submit, exceptions, a worker that dies, both start methods; asyncio."""
import asyncio
import concurrent.futures as futures
import multiprocessing as mp
import os
import sys


def square(x):
    return x * x


def fails(x):
    raise LookupError(x)


def dies():
    os._exit(3)


def pid():
    return os.getpid()


async def from_asyncio(pool):
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(pool, square, i) for i in range(5)))


def main(method):
    print(method)
    context = mp.get_context(method)
    with futures.ProcessPoolExecutor(2, context) as pool:
        print(list(pool.map(square, range(20), chunksize=4)))
        some = [pool.submit(square, i) for i in range(5)]
        done, not_done = futures.wait(some, timeout=60)
        print(sorted(f.result() for f in done), len(not_done))
        future = pool.submit(fails, "key")
        print(repr(future.exception()), pool.submit(pid).result() != os.getpid())
        print(sorted(f.result() for f in futures.as_completed([pool.submit(pow, 2, i) for i in range(5)])))
        print(asyncio.run(from_asyncio(pool)))
    with futures.ProcessPoolExecutor(2, context) as pool:
        print(pool.submit(square, 3).result())
        try:
            pool.submit(dies).result()
        except futures.BrokenExecutor as e:
            print(type(e).__name__)
    print(mp.active_children())


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    for method in ("fork", "spawn"):
        main(method)
