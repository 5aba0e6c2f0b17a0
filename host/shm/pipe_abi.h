/*
 * Shared pipes as Lua uses them, through LuaJIT's FFI.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_PIPE_ABI_H
#define PERIGEE_SHM_PIPE_ABI_H

#include <stdint.h>

/* A stream of bytes from one process to another. A process becomes its writer or its reader when it
 * first writes or reads, until it closes that side or ends. */
struct shm_pipe;

enum shm_pipe_result {
	SHM_PIPE_OK = 0,
	SHM_PIPE_LATER = 1,  /* no room, or nothing there */
	SHM_PIPE_END = 2,    /* reading: the writer closed it */
	SHM_PIPE_DIED = 3,   /* reading: the writer's process ended without closing it */
	SHM_PIPE_CLOSED = 4, /* writing: the reader closed it */
	SHM_PIPE_BUSY = 5,   /* another living process writes, or reads */
	SHM_PIPE_FAILED = -1 /* shm_last_error says why */
};

/* The pipe called `name` with room for `size` bytes, 1 to 2^30, made when `create` says so and
 * there is none; size 0 finds one of any size. NULL when it cannot be had; shm_last_error. */
struct shm_pipe *shm_pipe_open(const char *name, uint64_t size, int create);

/* Writes as much as there is room for: *ret_done bytes, more than 0 when it returns OK. Never
 * waits. */
int shm_pipe_write(struct shm_pipe *pipe, const char *data, uint64_t size, uint64_t *ret_done);

/* Reads up to `room` bytes: *ret_size, more than 0 when it returns OK. END and DIED come once,
 * after the last byte; what is read then is of the next writer. Never waits. */
int shm_pipe_read(struct shm_pipe *pipe, char *data, uint64_t room, uint64_t *ret_size);

/* Ends what this process writes, or reads, when it does; what a closing reader has not read is
 * lost. */
int shm_pipe_close(struct shm_pipe *pipe);

struct shm_pipe_stat {
	uint64_t size;    /* bytes there is room for */
	uint64_t used;    /* bytes written and not yet read */
	uint64_t written; /* bytes, ever */
	uint64_t writing; /* 1 when a living process writes */
	uint64_t reading; /* 1 when a living process reads */
	uint64_t undone;  /* operations of dead processes that were undone */
};
void shm_pipe_stat(struct shm_pipe *pipe, struct shm_pipe_stat *stat);

/* Where to wait until there is something to read, or room to write. */
struct shm_waiters *shm_pipe_readers(struct shm_pipe *pipe);
struct shm_waiters *shm_pipe_writers(struct shm_pipe *pipe);

#endif
