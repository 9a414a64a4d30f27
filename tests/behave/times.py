"""Clocks go forward and agree; sleeps are long enough; time zones come from the pinned files."""
# behave: env TZ=Europe/Stockholm
import datetime
import os
import time

last = time.monotonic_ns()
for _ in range(20_000):
    now = time.monotonic_ns()
    assert now >= last
    last = now
print(abs(time.time() - datetime.datetime.now().timestamp()) < 5, time.time() > 1_600_000_000)
for seconds in (0, 0.001, 0.02):
    start = time.monotonic()
    time.sleep(seconds)
    print(seconds <= time.monotonic() - start < seconds + 60)
print(time.get_clock_info("monotonic").resolution, time.get_clock_info("time").resolution)
start = time.process_time()
while time.process_time() - start < 0.01:
    pass
print(time.process_time() > start, time.thread_time() > 0, time.perf_counter_ns() > 0)
print(time.tzname, time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(1_700_000_000)))
print(time.strftime("%c", time.gmtime(0)), time.mktime((2024, 7, 1, 12, 0, 0, 0, 0, -1)))
print(abs(time.clock_gettime(time.CLOCK_REALTIME) - time.time()) < 5, os.times().user >= 0)
print(time.clock_gettime(time.CLOCK_BOOTTIME) >= time.clock_gettime(time.CLOCK_MONOTONIC) - 1)
