/*
 * What the manager tells whoever started it, by systemd's protocol: sd_notify(3), one datagram of
 * lines "NAME=value" to the unix socket that NOTIFY_SOCKET names. Without that variable everything
 * here does nothing. Nothing is waited for: what the socket does not take now goes with the next
 * tick.
 *
 * The variables are the manager's alone; they are taken out of the environment of its children.
 */
#ifndef PERIGEE_MANAGER_NOTIFY_H
#define PERIGEE_MANAGER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "base/error.h"

#define NOTIFY_PENDING_MAX 4096 /* bytes that wait for the socket; what is beyond is lost */

struct notify {
	int socket; /* -1: nobody wants to know */
	struct sockaddr_un address;
	socklen_t address_size;
	size_t pending;
	char text[NOTIFY_PENDING_MAX];

	bool ready;           /* READY=1 is what was said last of it, not RELOADING=1 */
	uint64_t watchdog;    /* ms in which a sign of life is wanted; 0: none is */
	uv_timer_t heartbeat; /* runs if one is */
	bool (*alive)(void *context);
	void *context;
};

/* Reads the environment. Returns 0, or -1 with *error when NOTIFY_SOCKET makes no sense. */
int notify_open(struct notify *notify, struct error *error);

/*
 * WATCHDOG=1 twice in each WATCHDOG_USEC from now on, whenever `alive(context)`, which says whether
 * the application is.
 */
void notify_watch(
	struct notify *notify, uv_loop_t *loop, bool (*alive)(void *context), void *context);

/* STATUS=: a line for a person. */
__attribute__((format(printf, 2, 3))) void notify_status(
	struct notify *notify, const char *format, ...);

/* The application serves; it is being loaded anew, which ends in another notify_ready; it ends. */
void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify);

/* For an exec of the same program: gives the variables back, or takes them out again. */
void notify_pass_on(struct notify *notify);
void notify_take_back(void);

/* Sends what is pending; for the tick, and the end. */
void notify_flush(struct notify *notify);

#endif
