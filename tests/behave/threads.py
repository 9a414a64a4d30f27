"""Threads with every tool of the standard library."""
# behave: options --threads 24
import concurrent.futures
import queue
import threading
import time

total = 0
lock = threading.Lock()


def work(n):
    global total
    for _ in range(n):
        with lock:
            total += 1


threads = [threading.Thread(target=work, args=(2000,)) for _ in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(total, threading.active_count())

q, done = queue.Queue(maxsize=5), queue.Queue()


def consumer():
    while (item := q.get()) is not None:
        done.put(item * item)
        q.task_done()


workers = [threading.Thread(target=consumer) for _ in range(4)]
for t in workers:
    t.start()
for i in range(100):
    q.put(i)
q.join()
for _ in workers:
    q.put(None)
for t in workers:
    t.join()
print(sum(done.get() for _ in range(100)))

with concurrent.futures.ThreadPoolExecutor(6) as pool:
    print(list(pool.map(lambda x: x ** 2, range(10))))
    futures = [pool.submit(time.sleep, 0.01) for _ in range(20)]
    print(len(concurrent.futures.wait(futures).done))
    print(pool.submit(lambda: 1 / 0).exception())

barrier = threading.Barrier(5)
order = []
threads = [threading.Thread(target=lambda: order.append(barrier.wait())) for _ in range(5)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sorted(order))

condition, ready = threading.Condition(), []


def waiter():
    with condition:
        condition.wait_for(lambda: ready, timeout=60)


t = threading.Thread(target=waiter)
t.start()
time.sleep(0.01)
with condition:
    ready.append(1)
    condition.notify_all()
t.join()
event = threading.Event()
print(event.wait(0.02))
timer = threading.Timer(0.02, event.set)
timer.start()
print(event.wait(60))
timer.join()
semaphore = threading.Semaphore(0)
print(semaphore.acquire(timeout=0.02), lock.acquire(timeout=0.01), lock.acquire(timeout=0.01))
local = threading.local()
local.x = 1
seen = []
t = threading.Thread(target=lambda: seen.append(hasattr(local, "x")))
t.start()
t.join()
print(seen, threading.main_thread() is threading.current_thread())
for _ in range(60):  # more, one after the other, than may run at one time
    t = threading.Thread(target=lambda: None)
    t.start()
    t.join()
print(threading.active_count(), threading.get_native_id() > 0)
daemon = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
daemon.start()
print("end")
