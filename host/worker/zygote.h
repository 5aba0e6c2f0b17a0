/* The zygote's role main: users call it the main process. */
#ifndef PERIGEE_WORKER_ZYGOTE_H
#define PERIGEE_WORKER_ZYGOTE_H

/* Loads the application once, then forks on the manager's orders, until it is told to stop.
 * Returns the exit status; never returns in a forked child. */
int zygote_main(void);

#endif
