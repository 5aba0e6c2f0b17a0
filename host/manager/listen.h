/*
 * Listening sockets: the only bind(2) and listen(2).
 *
 * A TCP address has one SO_REUSEPORT socket per worker slot, bound once and kept while the slot
 * exists: a worker's successor gets the same socket, so no accept queue is ever lost. A program in
 * the kernel (SO_ATTACH_REUSEPORT_CBPF) deals new connections to the first `live` sockets only.
 * The group's order is the order of listen(2), so the sockets held are always those of slots
 * 0 to n-1: a retired slot's are closed from the top down, and one that is wanted again before
 * that is used again. Unix sockets, inherited ones and reuse_port = false have one socket for all.
 */
#ifndef PERIGEE_MANAGER_LISTEN_H
#define PERIGEE_MANAGER_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/error.h"
#include "manager/identity.h"
#include "manager/settings.h"

#define LISTEN_URL_SIZE 160 /* bytes of "http://127.0.0.1:8000" or "unix:/path…", with the NUL */

/* One address as it was asked for: "tcp:127.0.0.1:8000", "tcp:[::1]:8000", "unix:0666:/path",
 * "fd:3". */
struct listen_address {
	char url[LISTEN_URL_SIZE];
	char bind[LISTEN_URL_SIZE]; /* as it was asked for */
	bool is_secure;             /* what comes there is TLS; the sockets know nothing of it */
	bool per_slot;              /* one socket per slot, or shared[0] for all */
	struct sockaddr_storage address; /* TCP: with the port the kernel chose, if it did */
	socklen_t address_size;
	char path[108];   /* unix: what to unlink at the end; "" otherwise */
	ino_t path_inode; /* unix: to know our own socket file again */
	dev_t path_device;
	int sockets[MANAGER_WORKERS_MAX]; /* -1: none */
};

struct listen_set {
	struct listen_address addresses[WIRE_BIND_MAX];
	size_t count;
	const struct identity *identity; /* whose unix socket files are */
	uint32_t backlog;
	bool reuse_port;
	uint32_t open; /* slots 0 to open-1 have their sockets */
	uint32_t live; /* of these, slots 0 to live-1 are dealt new connections */
};

/*
 * Opens every address of `settings` for its number of workers. `identity` lives as long as the set.
 * Returns 0, or -1 with *error naming the address and, where /proc tells, who has it; nothing stays
 * open then.
 */
int listen_open(struct listen_set *set, const struct manager_settings *settings,
	const struct identity *identity, struct error *error);

/* Opens one address with one socket, of slot 0. Returns and fails as listen_open. */
int listen_open_one(struct listen_set *set, const char *address, bool is_secure,
	const struct identity *identity, struct error *error);

/* Makes sure that slots 0 to `slots`-1 have sockets. Returns 0, or -1 with *error. */
int listen_grow(struct listen_set *set, uint32_t slots, struct error *error);

/* Deals new connections to slots 0 to `live`-1 (at least 1) from now on. */
void listen_set_live(struct listen_set *set, uint32_t live);

/* Closes the sockets of slots `slots` and above. Nobody else may hold them. */
void listen_shrink(struct listen_set *set, uint32_t slots);

/* The sockets a worker of `slot` accepts on. Returns their number, at most WIRE_BIND_MAX. */
size_t listen_sockets(const struct listen_set *set, uint32_t slot, int *ret_sockets);

/*
 * Taking over the sockets of a manager that was another program: its addresses in their order, then
 * each socket with its address and slot, then listen_adopted, when slots 0 to `live`-1 are dealt
 * new connections already. Return 0, or -1 when that is not one of ours.
 */
int listen_adopt_address(struct listen_set *set, bool per_slot, bool is_secure, const char *bind);
int listen_adopt(struct listen_set *set, uint64_t address, uint64_t slot, int socket);
int listen_adopted(struct listen_set *set, const struct manager_settings *settings,
	const struct identity *identity, uint32_t live);

/* Closes everything and removes unix socket files that are still ours. */
void listen_close(struct listen_set *set);

/*
 * Who listens at a TCP address: "nginx (pid 123)". Returns 0, or -1 when /proc does not tell.
 * Scans /proc, so it is for the way out only.
 */
int listen_owner(const struct sockaddr_storage *address, char *text, size_t size);

#endif
