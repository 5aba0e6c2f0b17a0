/*
 * Shared queues as Lua uses them, through LuaJIT's FFI; see queue_store.h for how they are kept.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_QUEUE_ABI_H
#define PERIGEE_SHM_QUEUE_ABI_H

#include <stdint.h>

/* Messages in the order they were put; many processes put, many take, each is taken once. */
struct shm_queue;

enum shm_queue_result {
	SHM_QUEUE_OK = 0,
	SHM_QUEUE_FULL = 1,    /* no place for one more, or no room for its bytes */
	SHM_QUEUE_EMPTY = 2,   /* nothing to take now */
	SHM_QUEUE_CLOSED = 3,  /* nothing can be put; nothing is left to be taken */
	SHM_QUEUE_TOO_BIG = 4, /* longer than the queue's message_limit */
	SHM_QUEUE_GONE = 5,    /* this process does not have that message, or no longer */
	SHM_QUEUE_FAILED = -1, /* shm_last_error says why */
};

/* What a queue is made with; none of it changes. */
struct shm_queue_shape {
	uint64_t capacity;      /* messages, those taken and not acknowledged included */
	uint64_t message_limit; /* bytes of one */
	uint64_t size;          /* bytes of memory that all share */
	uint64_t encoding;      /* 0: bytes, 1: JSON; only Lua's affair */
};

/* The queue called `name`, made when `create` says so and there is none. `shape` is what it must
 * have, or NULL for any, of one that exists. NULL when it cannot be had; shm_last_error. */
struct shm_queue *shm_queue_open(const char *name, const struct shm_queue_shape *shape, int create);
void shm_queue_shape(const struct shm_queue *queue, struct shm_queue_shape *shape);

/* Puts one message at the end: enum shm_queue_result. Never waits. */
int shm_queue_put(struct shm_queue *queue, const char *text, uint64_t size);

/* Puts messages in their order, as many as there is a place for; *ret_done of them. OK when that is
 * all; what else it returns is about the first that was not put. */
int shm_queue_put_many(struct shm_queue *queue, const char *const *texts, const uint64_t *sizes,
	uint64_t count, uint64_t *ret_done);

struct shm_queue_message {
	uint64_t size;       /* bytes */
	uint64_t id;         /* for shm_queue_ack and shm_queue_nack, with the serial */
	uint64_t serial;     /* its number among all that were put, from 1 */
	uint64_t deliveries; /* how often it was taken, this time included */
};

struct shm_queue_batch {
	char *text;     /* in: where the messages go, one behind the other */
	uint64_t room;  /* in: bytes there, the queue's message_limit at least */
	uint32_t most;  /* in: how many to take, 1 to 128 */
	uint32_t held;  /* in: 1 when they are to be acknowledged */
	uint32_t count; /* out */
	uint32_t reserved;
	struct shm_queue_message messages[128];
};

/* Takes the eldest messages. OK: at least one; else EMPTY, CLOSED or FAILED. Never waits. */
int shm_queue_take(struct shm_queue *queue, struct shm_queue_batch *batch);

/* A message that was taken to be acknowledged is done with, or goes back to its old place before
 * those not yet taken. OK, GONE or FAILED. */
int shm_queue_ack(struct shm_queue *queue, uint64_t id, uint64_t serial);
int shm_queue_nack(struct shm_queue *queue, uint64_t id, uint64_t serial);

/* Nothing is put from now on; who waits is told. */
void shm_queue_close(struct shm_queue *queue);

/* Messages that can be taken now. */
uint64_t shm_queue_size(struct shm_queue *queue);

struct shm_queue_stat {
	uint64_t ready;    /* messages that can be taken */
	uint64_t taken;    /* messages taken and not yet acknowledged */
	uint64_t put;      /* messages ever put */
	uint64_t done;     /* messages ever taken for good */
	uint64_t returned; /* times a message came back, by nack or as its process died */
	uint64_t used;     /* bytes of memory that messages have */
	uint64_t size;     /* bytes of memory there are for them */
	uint64_t closed;   /* 1 when it is */
	uint64_t undone;   /* operations of dead processes that were undone */
	uint32_t getters;  /* processes that wait to take, about */
	uint32_t putters;  /* processes that wait to put, about */
};
void shm_queue_stat(struct shm_queue *queue, struct shm_queue_stat *stat);

/* Where to wait until something can be taken, or put. */
struct shm_waiters *shm_queue_getters(struct shm_queue *queue);
struct shm_waiters *shm_queue_putters(struct shm_queue *queue);

#endif
