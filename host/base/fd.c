/* File descriptors: closing, flags, passing. No state. Runs in every process. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

union fd_control {
	char bytes[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	struct cmsghdr align;
};

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_set_nonblocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int fd_set_cloexec(int fd, int on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

int fd_packet_pair(int ret_pair[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_pair);
}

int fd_send(int socket, const void *data, size_t size, const int *fds, size_t count, int flags)
{
	struct iovec part = {.iov_base = (void *)(size_t)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	union fd_control control;
	ssize_t sent;

	CHECK(count <= FD_PASS_MAX);
	if (count != 0) {
		struct cmsghdr *header;

		memset(&control, 0, sizeof control);
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	}
	do
		sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

/* Moves what was received into fds; closes what does not fit. Returns how many there were. */
static size_t take_fds(struct msghdr *message, int *fds, size_t room)
{
	size_t total = 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
		header = CMSG_NXTHDR(message, header)) {
		size_t count;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
			if (total < room)
				fds[total] = fd;
			else
				fd_close(&fd);
			total++;
		}
	}
	return total;
}

ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t *count, int flags)
{
	struct iovec part = {.iov_base = data, .iov_len = size};
	union fd_control control;
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	ssize_t received;
	size_t room = *count;
	size_t total;

	*count = 0;
	do
		received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -1;
	total = take_fds(&message, fds, room);
	if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || total > room) {
		for (size_t i = 0; i < total && i < room; i++)
			fd_close(&fds[i]);
		errno = EMSGSIZE;
		return -1;
	}
	*count = total;
	return received;
}

void fd_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}
