"""multiprocessing: Process, Pipe, Queue, Lock and friends, Value, Array, Pool; start method as the argument says."""
# behave: args fork
import ctypes
import multiprocessing as mp
import os
import queue
import sys
import time


def hello(name, q):
    q.put((name, mp.current_process().name, os.getpid() != mp.parent_process().pid))


def raises(_):
    raise ValueError("from the worker")


def square(x):
    return x * x


def add(counter, array, lock, n):
    for _ in range(n):
        with lock:
            counter.value += 1
            array[3] += 2.0


def add_own_lock(counter, n):
    for _ in range(n):
        with counter.get_lock():
            counter.value += 1


def echo(connection):
    while (message := connection.recv()) is not None:
        connection.send((message, len(message)))
    connection.send_bytes(b"bytes " * 3)
    connection.close()


def produce(q, n, who):
    for i in range(n):
        q.put((who, i))


def take(tasks, results):
    for item in iter(tasks.get, None):
        results.put(item * 2)
        tasks.task_done()
    tasks.task_done()


def wait_for(event, barrier, condition, ready, out):
    event.wait()
    barrier.wait()
    with condition:
        ready.value += 1
        condition.notify_all()
    out.put("through")


def exits(how):
    if how == "code":
        sys.exit(7)
    if how == "signal":
        os.kill(os.getpid(), 9)
    if how == "sleep":
        time.sleep(100)
    sys.stderr = open(os.devnull, "w")
    raise KeyError(how)


def start_value(value):
    global started
    started = value


def started_value(_):
    return started


def main(method):
    sys.stdout.reconfigure(line_buffering=True)
    ctx = mp.get_context(method)
    q = ctx.Queue()
    p = ctx.Process(target=hello, args=("you", q), name="worker")
    p.start()
    print(q.get(), p.join(), p.exitcode, p.is_alive(), p.pid != os.getpid())

    a, b = ctx.Pipe()
    p = ctx.Process(target=echo, args=(b,))
    p.start()
    b.close()
    for message in ("text", [1, 2], b"x" * 300_000):
        a.send(message)
        got = a.recv()
        print(got[0] == message, got[1])
    a.send(None)
    print(a.recv_bytes(), a.poll(60))
    try:
        a.recv()
    except EOFError:
        print("EOF")
    p.join()

    counter, array, lock = ctx.Value("i", 0, lock=False), ctx.Array(ctypes.c_double, 5, lock=False), ctx.Lock()
    ps = [ctx.Process(target=add, args=(counter, array, lock, 200)) for _ in range(4)]
    own = ctx.Value("q", 10)
    ps += [ctx.Process(target=add_own_lock, args=(own, 100)) for _ in range(2)]
    for p in ps:
        p.start()
    for p in ps:
        p.join()
    print([p.exitcode for p in ps], counter.value, list(array), own.value)

    q = ctx.Queue(5)
    ps = [ctx.Process(target=produce, args=(q, 50, i)) for i in range(3)]
    for p in ps:
        p.start()
    items = [q.get() for _ in range(150)]
    for p in ps:
        p.join()
    print([[i for w, i in items if w == who] == list(range(50)) for who in range(3)], q.empty())
    try:
        q.get(timeout=0.02)
    except queue.Empty:
        print("empty")

    tasks, results = ctx.JoinableQueue(), ctx.SimpleQueue()
    ps = [ctx.Process(target=take, args=(tasks, results), daemon=True) for _ in range(2)]
    for p in ps:
        p.start()
    for i in range(20):
        tasks.put(i)
    for _ in ps:
        tasks.put(None)
    tasks.join()
    for p in ps:
        p.join()
    print(sorted(results.get() for _ in range(20)) == [i * 2 for i in range(20)], results.empty())

    event, barrier, condition = ctx.Event(), ctx.Barrier(3), ctx.Condition()
    ready, out = ctx.Value("i", 0), ctx.Queue()
    ps = [ctx.Process(target=wait_for, args=(event, barrier, condition, ready, out)) for _ in range(3)]
    for p in ps:
        p.start()
    print(event.is_set(), event.set(), [out.get() for _ in ps])
    with condition:
        print(condition.wait_for(lambda: ready.value == 3, 60))
    for p in ps:
        p.join()
    semaphore, recursive = ctx.BoundedSemaphore(2), ctx.RLock()
    print(semaphore.acquire(), semaphore.acquire(), semaphore.acquire(False), semaphore.acquire(timeout=0.01),
          recursive.acquire(), recursive.acquire(), recursive.release(), recursive.release())

    codes = []
    for how in ("code", "signal", "exception"):
        p = ctx.Process(target=exits, args=(how,))
        p.start()
        p.join()
        codes.append(p.exitcode)
    p = ctx.Process(target=exits, args=("sleep",))
    p.start()
    print(p.join(0.02), p.is_alive(), p.terminate(), p.join(), p.exitcode)
    p = ctx.Process(target=exits, args=("sleep",))
    p.start()
    p.kill()
    p.join()
    print(codes, p.exitcode, mp.active_children())

    with ctx.Pool(2, start_value, ("set",)) as pool:
        print(pool.map(square, range(30)) == [i * i for i in range(30)], pool.map(started_value, range(4)))
        print(sorted(pool.imap_unordered(square, range(10), chunksize=3)), pool.apply_async(square, (7,)).get(60))
        print(pool.starmap(pow, [(2, 3), (3, 2)]), list(pool.imap(square, range(4))))
        try:
            pool.map(raises, [1])
        except ValueError as e:
            print(e, type(e.__cause__).__name__)
    with ctx.Pool(3, maxtasksperchild=2) as pool:
        total = sum(pool.map(square, range(12), chunksize=1))
        pool.close()
        pool.join()
    print(total)
    print("children:", mp.active_children())


if __name__ == "__main__":
    main(sys.argv[1])
