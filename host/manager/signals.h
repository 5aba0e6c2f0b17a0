/*
 * The signals that the manager obeys.
 *
 * They are held (blocked, which an exec keeps) from before there is a manager until its loop can
 * take them, so that none is lost, and none kills it half made. Handlers only enqueue; what
 * a signal means is decided in the loop.
 */
#ifndef PERIGEE_MANAGER_SIGNALS_H
#define PERIGEE_MANAGER_SIGNALS_H

#include <uv.h>

struct manager;

#define SIGNALS_MAX 16

struct signals {
	uv_signal_t handles[SIGNALS_MAX];
};

/* Blocks them. */
void signals_hold(void);

/* Lets in those that were held. */
void signals_release(void);

/* Watches them on the manager's loop, and lets in those that were held. */
void signals_open(struct signals *signals, struct manager *manager);

#endif
