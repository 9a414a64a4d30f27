#include "host/alarm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "host/thread.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static timer_t g_alarm;
static bool g_have_alarm;

int alarm_init(struct host *host, struct err *err)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = thread_wake_signal(),
        .sigev_value.sival_int = THREAD_SIGVAL_ALARM,
        .sigev_notify_thread_id = host->threads[0].tid,
    };
    if (timer_create(CLOCK_MONOTONIC, &event, &g_alarm) < 0)
        return err_set(err, -errno, "making the alarm's timer: %s", strerror(errno));
    g_have_alarm = true;
    return 0;
}

int alarm_set(struct host *host UNUSED, uint64_t deadline_ns)
{
    if (!g_have_alarm)
        return -EINVAL;
    struct itimerspec when = { 0 };
    if (deadline_ns != OCALL_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline_ns / 1000000000u);
        when.it_value.tv_nsec = (long)(deadline_ns % 1000000000u);
        /* Zero would take it off. */
        if (deadline_ns == 0)
            when.it_value.tv_nsec = 1;
    }
    return timer_settime(g_alarm, TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}
