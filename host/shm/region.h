/*
 * The region: one memfd that holds every shared object, addressed by offsets.
 *
 * The manager makes the memfd and keeps it, and never maps it: nothing a child writes can hurt it.
 * Every process that runs Lua maps it when it first needs it. Objects are made in the zygote only,
 * one zygote at a time, so making one takes no lock; an object appears in the directory in one
 * store, after it is complete.
 */
#ifndef PERIGEE_SHM_REGION_H
#define PERIGEE_SHM_REGION_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SHM_REGION_DEFAULT (64ull << 20) /* bytes reserved, sparse; setting shared_memory */
#define SHM_NAME_MAX       64            /* bytes of an object's name, the final NUL included */
#define SHM_KIND_MAX       16            /* bytes of its kind, the final NUL included */
#define SHM_SHAPE_MAX      112           /* bytes of its shape, the final NUL included */
#define SHM_OBJECTS_MAX    1024          /* objects in one region */

/* A new region of `size` bytes, all of it sparse. Returns its memfd, or -1 with *error. */
int shm_region_create(uint64_t size, struct error *error);

/* Tells this process which memfd is its region; it is mapped at first use. */
void shm_region_use(int fd);

/* The memfd given to shm_region_use, which stays its owner's; -1 when there is none. */
int shm_region_fd(void);

/* What an object is to be. */
struct shm_want {
	const char *name; /* 1 to SHM_NAME_MAX - 1 bytes */
	const char *kind; /* "queue"; shorter than SHM_KIND_MAX */
	const char *
		shape; /* what was chosen of it, for people: "1024 messages of 65536 bytes, json" */
	uint64_t size; /* bytes */
};

/*
 * The object that is wanted, aligned to 64 bytes; all zero when it is new, which *ret_new tells.
 * Returns NULL with *error when it cannot be had, among others because it exists with another kind,
 * shape or size (the error says both). One that exists is left as it is.
 */
void *shm_region_make(const struct shm_want *want, int *ret_new, struct error *error);

/*
 * The object `name`, as it was made; *ret_size is its size when ret_size is not NULL. Returns NULL
 * with *error when there is none, or it is of another kind, or of another shape than `shape`, which
 * may be NULL for any.
 */
void *shm_region_find(const char *name, const char *kind, const char *shape, uint64_t *ret_size,
	struct error *error);

/* Makes an object found new by shm_region_make known to others: call it when it is complete. */
void shm_region_publish(const char *name);

/*
 * The object that is wanted: made, or with `create` 0 found, of any shape when that is NULL. A new
 * one is the caller's to complete and publish, as *ret_new tells; with NULL for that, zeros are all
 * it needs. Returns NULL with shm_last_error.
 */
void *shm_region_open(const struct shm_want *want, int create, int *ret_new);

/* The members' incarnations, SHM_MEMBERS_MAX of them (member.h). NULL with *error. */
uint64_t *shm_region_members(struct error *error);

#endif
