/*
 * sgxpy is two programs. `sgxpy` itself only runs what is built already: small, without OpenSSL,
 * libelf and all else that takes longer to load than an enclave to start. For everything else it
 * executes `sgxpy-full` with the same arguments, which knows all verbs (`run` too). Tier: hosted.
 */
#pragma once

/* main's, before anything else. */
void become_set_arguments(char **argv);
/* Executes sgxpy-full. Only failure returns: the exit code, the message printed. */
int become_full(void);
