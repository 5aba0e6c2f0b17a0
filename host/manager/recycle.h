/*
 * Workers that are used up: each is replaced and then drained, one slot after the other.
 *
 * A slot whose worker says so is marked, and waits for its turn: while one is being replaced for
 * this, the others serve on. If the code cannot start any more, the old worker serves on too.
 */
#ifndef PERIGEE_MANAGER_RECYCLE_H
#define PERIGEE_MANAGER_RECYCLE_H

#include <stddef.h>

struct child;
struct manager;

/* A worker says that it is used up, and why. */
void recycle_on_used_up(struct manager *manager, struct child *child, const char *why, size_t size);

/* A worker has become ready or is gone: it may be the next slot's turn. */
void recycle_go_on(struct manager *manager);

#endif
