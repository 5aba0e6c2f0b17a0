/*
 * The feed: what a worker publishes, for all others to read.
 *
 * One memfd holds a ring for each seat of the slots table. Only the process in the seat writes to
 * its ring, and it waits for nobody: it overwrites what is oldest. Readers keep their own places,
 * notice when they were overtaken, and count what they lost. So nothing is ever locked, a writer
 * that is killed at any instruction leaves at most a record that nobody sees, and the messages of
 * one publisher keep their order.
 *
 * The bell is an eventfd that everybody rings and nobody reads: each process watches it
 * edge-triggered. Manager: makes both, maps nothing. Zygote: passes them on. Workers: the rest.
 */
#ifndef PERIGEE_SHM_FEED_H
#define PERIGEE_SHM_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

#define SHM_FEED_RING        (512 * 1024) /* bytes of a ring, a power of two; sparse until used */
#define SHM_FEED_MESSAGE_MAX (256 * 1024) /* bytes of a topic and its message together */

struct shm_feed;

/* A message as it was published. */
struct shm_feed_message {
	uint32_t kind;
	struct slice topic;
	struct slice data;
};

/* A new feed. Returns its memfd, or -1 with *error. */
int shm_feed_create(struct error *error);

/* A new bell. Returns its eventfd, or -1 with *error. */
int shm_feed_create_bell(struct error *error);

/*
 * Joins the feed in `fd` as the writer of `seat`'s ring, and as a reader of all others from now
 * on. Returns NULL with *error when it cannot. It lasts as long as the process.
 */
struct shm_feed *shm_feed_join(int fd, int bell, unsigned seat, struct error *error);

/* Publishes and rings. Returns 0, or -1 when topic and data are more than SHM_FEED_MESSAGE_MAX. */
int shm_feed_write(struct shm_feed *feed, const struct shm_feed_message *message);

/*
 * The next message of another writer; its slices are valid until the next call. Returns false when
 * there is none.
 */
bool shm_feed_read(struct shm_feed *feed, struct shm_feed_message *message);

/* How many messages this process has lost, as it was too slow to read them. */
uint64_t shm_feed_lost(const struct shm_feed *feed);

#endif
