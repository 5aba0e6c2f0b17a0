/* The manager's role main. */
#ifndef PERIGEE_MANAGER_MAIN_H
#define PERIGEE_MANAGER_MAIN_H

#include "base/error.h"

/* Runs the manager until the application ends; `settings` is the memfd of what the user gave.
 * Returns the exit status. */
int manager_main(int settings);

/* Becomes the manager by exec, handing it `settings`. Returns only on failure, -1 with *error. */
int manager_exec(int settings, struct error *error);

#endif
