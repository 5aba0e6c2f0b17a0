/*
 * What crosses an upgrade of the manager: a record block in a memfd, and the descriptors it names.
 *
 * Numbers of descriptors are those of the process, which an exec keeps. A program takes a state
 * only of its own UPGRADE_VERSION, and children only of its own WIRE_VERSION, to whom it is to go
 * on talking.
 */
#ifndef PERIGEE_MANAGER_UPGRADE_STATE_H
#define PERIGEE_MANAGER_UPGRADE_STATE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

#define UPGRADE_VERSION 1

struct manager;

/* Writes the state of a quiet manager. Returns a memfd, and in *ret_plan another one that it names;
 * or -1 with *error. Both are the caller's. */
int upgrade_state_write(struct manager *manager, int *ret_plan, struct error *error);

/* Reads and checks one, all of it. Returns 0, or -1 with *error that says why it cannot be taken.
 */
int upgrade_state_read(struct buffer *ret_block, int fd, struct error *error);

/* Has every descriptor that a state names cross the next exec, or not. */
void upgrade_state_keep(const struct buffer *block, bool keep);

/* In the new image: what there is before there is a loop, and what is watched on it. Return 0, or
 * -1 with *error. */
int upgrade_state_adopt(struct manager *manager, const struct buffer *block, struct error *error);
int upgrade_state_adopt_children(
	struct manager *manager, const struct buffer *block, struct error *error);

#endif
