"""multiprocessing: Manager, shared_memory, and processes that outlive what they were given."""
import multiprocessing as mp
from multiprocessing import managers, shared_memory


def work(shared_dict, shared_list, lock, i):
    with lock:
        shared_dict["sum"] += i
    shared_list.append(i)
    shared_dict[i] = {"of": i}


def fill(name, value):
    block = shared_memory.SharedMemory(name)
    block.buf[:4] = bytes([value] * 4)
    block.close()


def count(numbers, lock):
    for _ in range(100):
        with lock:
            numbers[0] += 1


class Counter:
    def __init__(self):
        self.value = 0

    def add(self, n):
        self.value += n
        return self.value


class Own(managers.BaseManager):
    pass


Own.register("Counter", Counter)


def use(counter, n):
    for _ in range(n):
        counter.add(1)


def main(method):
    ctx = mp.get_context(method)
    with ctx.Manager() as manager:
        shared_dict, shared_list, lock = manager.dict(sum=0), manager.list(), manager.Lock()
        ps = [ctx.Process(target=work, args=(shared_dict, shared_list, lock, i)) for i in range(4)]
        for p in ps:
            p.start()
        for p in ps:
            p.join()
        print([p.exitcode for p in ps], shared_dict["sum"], sorted(shared_list), shared_dict[3], len(shared_dict))
        q, event, value = manager.Queue(), manager.Event(), manager.Value("i", 5)
        q.put("x")
        event.set()
        value.value += 1
        print(q.get(), event.is_set(), value.value)
        try:
            shared_dict["absent"]
        except KeyError as e:
            print("KeyError", e)
    with Own(ctx=ctx) as own:
        counter = own.Counter()
        ps = [ctx.Process(target=use, args=(counter, 30)) for _ in range(2)]
        for p in ps:
            p.start()
        for p in ps:
            p.join()
        print(counter.add(0))

    block = shared_memory.SharedMemory(create=True, size=10_000)
    print(block.size >= 10_000, bytes(block.buf[:4]))
    for value in (7, 9):
        p = ctx.Process(target=fill, args=(block.name, value))
        p.start()
        p.join()
        print(p.exitcode, bytes(block.buf[:5]))
    again = shared_memory.SharedMemory(block.name)
    again.buf[0] = 1
    print(block.buf[0], block.name == again.name)
    again.close()
    block.close()
    block.unlink()
    try:
        shared_memory.SharedMemory(block.name)
    except FileNotFoundError as e:
        print(e.strerror)
    numbers = shared_memory.ShareableList([0, "text", 2.5, None, b"bytes"])
    lock = ctx.Lock()
    ps = [ctx.Process(target=count, args=(numbers, lock)) for _ in range(3)]
    for p in ps:
        p.start()
    for p in ps:
        p.join()
    print(list(numbers))
    numbers.shm.close()
    numbers.shm.unlink()
    print(mp.active_children())


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        print(method)
        main(method)
