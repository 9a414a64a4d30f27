"""asyncio's subprocesses with each of its child watchers; PidfdChildWatcher is a pidfd in the loop's epoll."""
import asyncio
import sys
import warnings

warnings.simplefilter("ignore")


async def main():
    run = asyncio.create_subprocess_exec
    ps = [await run(sys.executable, "-c", f"import sys; print({n}); sys.exit({n})", stdout=asyncio.subprocess.PIPE) for n in range(3)]
    print(await asyncio.gather(*(p.communicate() for p in ps)), [p.returncode for p in ps])
    await (await run("sleep", "0")).wait()  # one that is killed while it starts would be in no trace
    p = await run("sleep", "100")
    p.terminate()
    print(await p.wait())
    p = await asyncio.create_subprocess_shell("cat; exit 4", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(b"over\n"), p.returncode)
    p = await run("cat", stdin=asyncio.subprocess.PIPE)
    try:
        await asyncio.wait_for(p.wait(), 0.001)
    except asyncio.TimeoutError:
        print("late")
    p.stdin.close()
    print(await p.wait())


for watcher in (asyncio.PidfdChildWatcher, asyncio.ThreadedChildWatcher, asyncio.SafeChildWatcher):
    print(watcher.__name__)
    policy = asyncio.DefaultEventLoopPolicy()
    asyncio.set_event_loop_policy(policy)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = watcher()
    policy.set_child_watcher(made)
    if hasattr(made, "attach_loop"):
        made.attach_loop(loop)
    loop.run_until_complete(main())
    made.close()
    loop.close()
