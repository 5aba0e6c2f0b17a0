/*
 * The shepherd: a tiny process between a worker and one command it has started
 * (lua/perigee/process.lua), so that nothing the command starts ever outlives the worker.
 */
#ifndef PERIGEE_MANAGER_SHEPHERD_H
#define PERIGEE_MANAGER_SHEPHERD_H

/*
 * The main function of the role: runs argv[2], found in PATH, with the arguments behind it.
 *
 * Descriptors 0 to 2 are the command's. WIRE_FD_SHEPHERD is a stream socket to the worker: it sends
 * bytes, each the number of a signal for the whole tree, and gets lines:
 *   started PID
 *   failed ENOENT No such file or directory
 *   exited CODE SIGNAL        one of them 0
 * At the socket's end, and at the command's, all that is left of the tree is killed.
 */
int shepherd_main(int argc, char **argv);

#endif
