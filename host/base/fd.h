/*
 * File descriptors. Everything opened here is CLOEXEC; -1 is the only value for "none".
 * Passing a descriptor to another process is unix(7) SCM_RIGHTS, over SOCK_SEQPACKET pairs.
 */
#ifndef PERIGEE_BASE_FD_H
#define PERIGEE_BASE_FD_H

#include <stddef.h>
#include <sys/types.h>

#define FD_PASS_MAX 64 /* descriptors in one message; the kernel's own limit is 253 */

/* Closes *fd unless it is -1, and leaves -1 behind. errno is kept. */
void fd_close(int *fd);

/* Sets or clears O_NONBLOCK. Returns 0, or -1 with errno. */
int fd_set_nonblocking(int fd, int on);

/* Sets or clears FD_CLOEXEC. Returns 0, or -1 with errno. */
int fd_set_cloexec(int fd, int on);

/* A connected SOCK_SEQPACKET pair, CLOEXEC. Returns 0, or -1 with errno. */
int fd_packet_pair(int ret_pair[2]);

/*
 * Sends one message with `count` descriptors (0 to FD_PASS_MAX) beside it; the caller keeps its
 * own copies open. `flags` as sendmsg(2); MSG_NOSIGNAL is added. Returns 0, or -1 with errno.
 */
int fd_send(int socket, const void *data, size_t size, const int *fds, size_t count, int flags);

/*
 * Receives one message. *count is the room in `fds` on entry and the number received on return;
 * they are CLOEXEC and the caller's. Returns the bytes received, 0 at the peer's end, or -1 with
 * errno: EMSGSIZE when the message or its descriptors did not fit (those are closed then).
 */
ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t *count, int flags);

/* Each connection takes a descriptor, so the soft limit of a process that serves is its hard one.
 */
void fd_raise_limit(void);

#endif
