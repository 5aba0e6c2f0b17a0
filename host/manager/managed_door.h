/*
 * Doors: the socket of a managed process that serves clients. It stays open while its processes
 * come and go, as those of slots do.
 */
#ifndef PERIGEE_MANAGER_MANAGED_DOOR_H
#define PERIGEE_MANAGER_MANAGED_DOOR_H

#include "base/error.h"

struct managed;
struct manager;

/* Has it listen where its terms say; nothing changes when it does already. Returns 0, or -1 with
 * *error, and then it listens nowhere. */
int managed_door_open(struct managed *managed, struct error *error);

void managed_door_close(struct managed *managed);

/* Those of all: the manager ends. */
void managed_door_close_all(struct manager *manager);

#endif
