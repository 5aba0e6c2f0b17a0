/* The command's role main: what the user typed. */
#ifndef PERIGEE_WORKER_COMMAND_H
#define PERIGEE_WORKER_COMMAND_H

/*
 * Runs the command line in Lua. Returns the exit status, or -1 when the process is to become the
 * manager; *ret_settings is then a memfd with the settings to hand it.
 */
int command_main(int argc, char **argv, int *ret_settings);

#endif
