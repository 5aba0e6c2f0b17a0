/* The manager's role main. */
#ifndef PERIGEE_MANAGER_MAIN_H
#define PERIGEE_MANAGER_MAIN_H

#include "base/error.h"

/* Runs the manager until the application ends; `settings` is the memfd of what the user gave.
 * Returns the exit status. */
int manager_main(int settings);

/*
 * From here on, across exec, the signals that the manager obeys wait until it can. For a process
 * that is about to become it; for one that is pid 1 they would be lost otherwise.
 */
void manager_hold_signals(void);

/* Becomes the manager by exec, handing it `settings`. Returns only on failure, -1 with *error. */
int manager_exec(int settings, struct error *error);

#endif
