/* Listening sockets. Owned by the manager; workers hold copies of the descriptors. */
#include "manager/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"

/* --- addresses ------------------------------------------------------------------------------ */

#define ONE_BACKLOG 128 /* connections that may wait at a socket that no setting is about */
static int parse_port(const char *text, in_port_t *ret_port)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || port > 65535)
		return -1;
	*ret_port = htons((in_port_t)port);
	return 0;
}

/* "127.0.0.1:8000" or "[::1]:8000". */
static int parse_tcp(struct listen_address *address, const char *text)
{
	const bool v6 = text[0] == '[';
	const char *host = text + v6;
	const char *colon = strrchr(text, ':');
	char name[INET6_ADDRSTRLEN];
	size_t size;

	if (colon == NULL || colon < host + v6)
		return -1;
	size = (size_t)(colon - host) - v6;
	if (size >= sizeof name || (v6 && host[size] != ']'))
		return -1;
	memcpy(name, host, size);
	name[size] = '\0';
	if (v6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->address;

		in6->sin6_family = AF_INET6;
		address->address_size = sizeof *in6;
		return inet_pton(AF_INET6, name, &in6->sin6_addr) == 1
			       ? parse_port(colon + 1, &in6->sin6_port)
			       : -1;
	}
	struct sockaddr_in *in = (struct sockaddr_in *)&address->address;

	in->sin_family = AF_INET;
	address->address_size = sizeof *in;
	return inet_pton(AF_INET, name, &in->sin_addr) == 1 ? parse_port(colon + 1, &in->sin_port)
							    : -1;
}

static void write_url(struct listen_address *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address->address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->address;
	const char *scheme = address->is_secure ? "https" : "http";
	char host[INET6_ADDRSTRLEN];

	if (address->address.ss_family == AF_INET &&
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host) != NULL)
		(void)snprintf(address->url, sizeof address->url, "%s://%s:%u", scheme, host,
			ntohs(in->sin_port));
	else if (address->address.ss_family == AF_INET6 &&
		 inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host) != NULL)
		(void)snprintf(address->url, sizeof address->url, "%s://[%s]:%u", scheme, host,
			ntohs(in6->sin6_port));
	else if (address->address.ss_family == AF_UNIX)
		(void)snprintf(address->url, sizeof address->url, "unix:%s",
			((const struct sockaddr_un *)&address->address)->sun_path);
}

/* --- TCP ------------------------------------------------------------------------------------ */

static int tcp_socket(const struct listen_address *address, bool reuse_port)
{
	const int on = 1;
	int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
		(reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
		(address->address.ss_family == AF_INET6 &&
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
		bind(fd, (const struct sockaddr *)&address->address, address->address_size) != 0)
		fd_close(&fd);
	return fd;
}

static int tcp_failed(const struct listen_address *address, struct error *error)
{
	char owner[128];

	if (errno == EADDRINUSE && listen_owner(&address->address, owner, sizeof owner) == 0)
		return error_set(error, EADDRINUSE, "cannot listen at %s: %s has it already",
			address->url, owner);
	if (errno == EADDRINUSE)
		return error_set(error, EADDRINUSE,
			"cannot listen at %s: another program has it already", address->url);
	return error_set_errno(error, "cannot listen at %s", address->url);
}

/*
 * The first socket of an address. With SO_REUSEPORT a second Perigee of the same user would share
 * the port in silence, so it is bound without, which nobody else can do meanwhile, and lets the
 * other slots' in afterwards. It also has the kernel choose a port. Returns -1 with *error.
 */
static int tcp_claim(
	const struct listen_set *set, struct listen_address *address, struct error *error)
{
	const int on = 1;
	int fd = tcp_socket(address, false);

	if (fd < 0 ||
		(address->per_slot &&
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
		listen(fd, (int)set->backlog) != 0 ||
		getsockname(fd, (struct sockaddr *)&address->address, &address->address_size) !=
			0) {
		(void)tcp_failed(address, error);
		fd_close(&fd);
	}
	write_url(address);
	return fd;
}

/* The same address's socket for another slot. */
static int tcp_open(
	const struct listen_set *set, const struct listen_address *address, struct error *error)
{
	int fd = tcp_socket(address, true);

	if (fd < 0 || listen(fd, (int)set->backlog) != 0) {
		(void)tcp_failed(address, error);
		fd_close(&fd);
	}
	return fd;
}

/* --- unix ----------------------------------------------------------------------------------- */

/* A socket file nobody accepts at is stale and removed; anything else there is left alone. */
static int unix_make_room(const struct sockaddr_un *name, struct error *error)
{
	const char *path = name->sun_path;
	struct stat status;
	int fd;
	int code;

	if (lstat(path, &status) != 0)
		return errno == ENOENT ? 0 : error_set_errno(error, "cannot listen at %s", path);
	if (!S_ISSOCK(status.st_mode))
		return error_set(error, EEXIST,
			"cannot listen at unix:%s: a file that is no socket is there", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(error, "cannot make a socket");
	code = connect(fd, (const struct sockaddr *)name, sizeof *name) == 0 ? 0 : errno;
	fd_close(&fd);
	if (code != ECONNREFUSED)
		return error_set(error, EADDRINUSE,
			"cannot listen at unix:%s: another program has it already", path);
	return unlink(path) == 0 ? 0 : error_set_errno(error, "cannot remove the stale %s", path);
}

/* Makes the socket and its file. */
static int unix_bind(const struct sockaddr_un *name, mode_t mode, struct error *error)
{
	int fd;

	if (unix_make_room(name, error) != 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)name, sizeof *name) != 0 ||
		chmod(name->sun_path, mode) != 0) {
		(void)error_set_errno(error, "cannot listen at unix:%s", name->sun_path);
		fd_close(&fd);
	}
	return fd;
}

/* As the user whose file it is to be; where he may not write, as ourselves, and given to him. */
static int unix_bind_as(const struct identity *identity, const struct sockaddr_un *name,
	mode_t mode, struct error *error)
{
	struct identity_stay stay;
	int fd;

	if (!identity->other)
		return unix_bind(name, mode, error);
	if (identity_enter(identity, &stay) != 0)
		return error_set_errno(error, "cannot listen at unix:%s", name->sun_path);
	fd = unix_bind(name, mode, error);
	identity_leave(identity, &stay);
	if (fd >= 0 || error->code != EACCES)
		return fd;
	fd = unix_bind(name, mode, error);
	if (fd >= 0 && lchown(name->sun_path, identity->uid, identity->gid) != 0) {
		(void)error_set_errno(error, "cannot give unix:%s to its user", name->sun_path);
		fd_close(&fd);
	}
	return fd;
}

/* Notes which file it is, to know it again at the end. Returns 0, or -1 with errno. */
static int unix_listen(const struct listen_set *set, struct listen_address *address, int fd)
{
	const char *path = ((const struct sockaddr_un *)&address->address)->sun_path;
	struct stat status;

	if (listen(fd, (int)set->backlog) != 0 || stat(path, &status) != 0)
		return -1;
	memcpy(address->path, path, strlen(path) + 1);
	address->path_inode = status.st_ino;
	address->path_device = status.st_dev;
	return 0;
}

/* "0666:/path" */
static int unix_open(const struct listen_set *set, struct listen_address *address, const char *text,
	struct error *error)
{
	struct sockaddr_un *name = (struct sockaddr_un *)&address->address;
	char *path;
	mode_t mode = (mode_t)strtoul(text, &path, 8);
	int fd;

	if (*path != ':' || path[1] != '/' || strlen(path + 1) >= sizeof name->sun_path)
		return error_set(error, EINVAL,
			"cannot listen at \"unix:%s\": a path has 1 to %zu bytes", text,
			sizeof name->sun_path - 1);
	name->sun_family = AF_UNIX;
	memcpy(name->sun_path, path + 1, strlen(path + 1) + 1);
	address->address_size = sizeof *name;
	write_url(address);
	fd = unix_bind_as(set->identity, name, mode, error);
	if (fd >= 0 && unix_listen(set, address, fd) != 0) {
		(void)error_set_errno(error, "cannot listen at unix:%s", name->sun_path);
		fd_close(&fd);
	}
	return fd;
}

/* --- inherited ------------------------------------------------------------------------------ */

/* "3": a listening socket somebody gave us, systemd for one. */
static int fd_open(struct listen_address *address, const char *text, struct error *error)
{
	char *end;
	long number = strtol(text, &end, 10);
	int listening = 0;
	socklen_t size = sizeof listening;
	int fd;

	if (text[0] == '\0' || *end != '\0' || number < 0 || number > INT32_MAX)
		return error_set(error, EINVAL, "cannot listen at fd:%s: not a number", text);
	if (getsockopt((int)number, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 ||
		!listening)
		return error_set(error, EBADF,
			"cannot listen at fd:%ld: it is not a listening socket", number);
	fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fd_set_nonblocking(fd, 1) != 0)
		return error_set_errno(error, "cannot listen at fd:%ld", number);
	(void)fd_set_cloexec((int)number, 1);
	address->address_size = sizeof address->address;
	(void)getsockname(fd, (struct sockaddr *)&address->address, &address->address_size);
	write_url(address);
	return fd;
}

/* --- the set -------------------------------------------------------------------------------- */

static int address_open(
	struct listen_set *set, const char *text, bool is_secure, struct error *error)
{
	struct listen_address *address = &set->addresses[set->count++];

	(void)snprintf(address->url, sizeof address->url, "%s", text);
	(void)snprintf(address->bind, sizeof address->bind, "%s", text);
	address->is_secure = is_secure;
	for (size_t i = 0; i < MANAGER_WORKERS_MAX; i++)
		address->sockets[i] = -1;
	if (strncmp(text, "tcp:", 4) == 0) {
		if (parse_tcp(address, text + 4) != 0)
			return error_set(error, EINVAL, "cannot listen at \"%s\"", text);
		write_url(address);
		address->per_slot = set->reuse_port;
		address->sockets[0] = tcp_claim(set, address, error);
	} else if (strncmp(text, "unix:", 5) == 0) {
		address->sockets[0] = unix_open(set, address, text + 5, error);
	} else if (strncmp(text, "fd:", 3) == 0) {
		address->sockets[0] = fd_open(address, text + 3, error);
	} else {
		return error_set(error, EINVAL,
			"cannot listen at \"%s\": it starts with none of "
			"tcp:, unix: and fd:",
			text);
	}
	return address->sockets[0] >= 0 ? 0 : -1;
}

int listen_open(struct listen_set *set, const struct manager_settings *settings,
	const struct identity *identity, struct error *error)
{
	*set = (struct listen_set){.identity = identity,
		.backlog = settings->backlog,
		.reuse_port = settings->reuse_port};
	for (size_t i = 0; i < settings->bind_count; i++) {
		if (address_open(set, settings->binds[i], settings->is_secure[i], error) != 0) {
			listen_close(set);
			return -1;
		}
	}
	if (listen_grow(set, settings->workers, error) != 0) {
		listen_close(set);
		return -1;
	}
	listen_set_live(set, settings->workers);
	return 0;
}

int listen_open_one(struct listen_set *set, const char *address, bool is_secure,
	const struct identity *identity, struct error *error)
{
	*set = (struct listen_set){.identity = identity, .backlog = ONE_BACKLOG};
	if (address_open(set, address, is_secure, error) == 0)
		return 0;
	listen_close(set);
	return -1;
}

int listen_grow(struct listen_set *set, uint32_t slots, struct error *error)
{
	CHECK(slots <= MANAGER_WORKERS_MAX);
	for (; set->open < slots; set->open++) {
		for (size_t i = 0; i < set->count; i++) {
			struct listen_address *address = &set->addresses[i];

			if (!address->per_slot || address->sockets[set->open] >= 0)
				continue;
			address->sockets[set->open] = tcp_open(set, address, error);
			if (address->sockets[set->open] < 0) {
				set->open++;
				listen_shrink(set, set->open - 1);
				return -1;
			}
		}
	}
	return 0;
}

void listen_set_live(struct listen_set *set, uint32_t live)
{
	/* A connection's hash modulo the live slots; see bpf(4)'s ancestor, socket(7) SO_ATTACH_*.
	 */
	struct sock_filter deal[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_RXHASH)},
		{BPF_ALU | BPF_MOD | BPF_K, 0, 0, live},
		{BPF_RET | BPF_A, 0, 0, 0},
	};
	struct sock_fprog program = {.len = sizeof deal / sizeof deal[0], .filter = deal};

	CHECK(live >= 1 && live <= set->open);
	for (size_t i = 0; i < set->count; i++) {
		const struct listen_address *address = &set->addresses[i];

		/* Where the kernel refuses, its own choice among all sockets stays in force. */
		if (address->per_slot)
			(void)setsockopt(address->sockets[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF,
				&program, sizeof program);
	}
	set->live = live;
}

void listen_shrink(struct listen_set *set, uint32_t slots)
{
	for (; set->open > slots; set->open--) {
		for (size_t i = 0; i < set->count; i++)
			if (set->addresses[i].per_slot)
				fd_close(&set->addresses[i].sockets[set->open - 1]);
	}
}

size_t listen_sockets(const struct listen_set *set, uint32_t slot, int *ret_sockets)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct listen_address *address = &set->addresses[i];

		ret_sockets[i] = address->sockets[address->per_slot ? slot : 0];
	}
	return set->count;
}

/* --- another program's ------------------------------------------------------------------------ */

int listen_adopt_address(struct listen_set *set, bool per_slot, bool is_secure, const char *bind)
{
	struct listen_address *address;

	if (set->count == WIRE_BIND_MAX)
		return -1;
	address = &set->addresses[set->count++];
	*address = (struct listen_address){.per_slot = per_slot, .is_secure = is_secure};
	(void)snprintf(address->bind, sizeof address->bind, "%s", bind);
	for (size_t i = 0; i < MANAGER_WORKERS_MAX; i++)
		address->sockets[i] = -1;
	return 0;
}

int listen_adopt(struct listen_set *set, uint64_t address, uint64_t slot, int socket)
{
	if (address >= set->count || slot >= MANAGER_WORKERS_MAX || socket < 0 ||
		set->addresses[address].sockets[slot] >= 0)
		return -1;
	set->addresses[address].sockets[slot] = socket;
	return 0;
}

static int learn_address(struct listen_address *address)
{
	const char *path = ((const struct sockaddr_un *)&address->address)->sun_path;
	struct stat status;

	address->address_size = sizeof address->address;
	if (getsockname(address->sockets[0], (struct sockaddr *)&address->address,
		    &address->address_size) != 0)
		return -1;
	write_url(address);
	if (strncmp(address->bind, "unix:", 5) != 0 || lstat(path, &status) != 0)
		return 0;
	(void)snprintf(address->path, sizeof address->path, "%s", path);
	address->path_inode = status.st_ino;
	address->path_device = status.st_dev;
	return 0;
}

int listen_adopted(struct listen_set *set, const struct manager_settings *settings,
	const struct identity *identity, uint32_t live)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct listen_address *address = &set->addresses[i];

		for (size_t slot = 0; slot < (address->per_slot ? set->open : 1); slot++) {
			if (address->sockets[slot] < 0)
				return -1;
		}
		if (learn_address(&set->addresses[i]) != 0)
			return -1;
	}
	set->identity = identity;
	set->backlog = settings->backlog;
	set->reuse_port = settings->reuse_port;
	set->live = live;
	return 0;
}

static void remove_socket_file(const struct listen_address *address)
{
	struct stat status;

	if (address->path[0] != '\0' && lstat(address->path, &status) == 0 &&
		status.st_ino == address->path_inode && status.st_dev == address->path_device)
		(void)unlink(address->path);
}

void listen_close(struct listen_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		remove_socket_file(&set->addresses[i]);
		for (size_t slot = 0; slot < MANAGER_WORKERS_MAX; slot++)
			fd_close(&set->addresses[i].sockets[slot]);
	}
	*set = (struct listen_set){0};
}
