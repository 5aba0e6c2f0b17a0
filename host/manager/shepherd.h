/*
 * The shepherd: a tiny process between one command and who has started it, a worker
 * (lua/perigee/process.lua) or the manager (command.h), so that nothing the command starts ever
 * outlives either.
 */
#ifndef PERIGEE_MANAGER_SHEPHERD_H
#define PERIGEE_MANAGER_SHEPHERD_H

/*
 * The main function of the role: runs the word behind "--", found in PATH, with the arguments
 * behind it. What comes before "--" is for the command alone, in this order (base/confine.h):
 *   --limit=nofile=1024  --env=NAME=value  --env=NAME  --cwd=PATH  --user=NAME
 *
 * Descriptors 0 to 2 are the command's. WIRE_FD_SHEPHERD is a socket to who started it: that sends
 * bytes, each the number of a signal for the whole tree, and gets lines:
 *   started PID
 *   failed ENOENT No such file or directory
 *   exited CODE SIGNAL        one of them 0
 * At the socket's end, and at the command's, all that is left of the tree is killed.
 */
int shepherd_main(int argc, char **argv);

#endif
