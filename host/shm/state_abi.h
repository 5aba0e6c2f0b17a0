/*
 * The processes of an application as each of them can read them, through LuaJIT's FFI.
 *
 * This file is included by the C that implements it and fed to ffi.cdef as it is, so it holds
 * plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_STATE_ABI_H
#define PERIGEE_SHM_STATE_ABI_H

#include <stddef.h>
#include <stdint.h>

/* In the order in which a process goes through them; one that is restarted begins anew. */
enum shm_state {
	SHM_STATE_NONE = 1,   /* declared, and not to be started by itself */
	SHM_STATE_IDLE,       /* to be started, when its time comes */
	SHM_STATE_RESTARTING, /* it serves, and its successor is on the way */
	SHM_STATE_STARTING,   /* its start was ordered */
	SHM_STATE_STARTED,    /* it runs, and is not ready */
	SHM_STATE_ACKED,      /* it is ready */
	SHM_STATE_JOINED,     /* it was asked to end, and finishes what it has */
	SHM_STATE_TERMINATED, /* it was killed, and is not gone yet */
	SHM_STATE_FAILED,     /* it is gone, not with status 0 */
	SHM_STATE_COMPLETED   /* it is gone, with status 0 */
};

enum {
	SHM_NAME_SIZE = 64,   /* bytes of a process's name, the final NUL included */
	SHM_ERROR_SIZE = 256, /* of why the last one in its place failed */
	SHM_COUNTERS = 16,    /* words that a process counts in; what each means, its role knows */
	SHM_KEYS_SIZE = 2048  /* bytes for what users tell about a process, a record block */
};

/* What the manager knows of a process, and alone writes. */
struct shm_process {
	char name[64]; /* "worker-0"; "": the seat is nobody's */
	char role[16];
	char last_error[256]; /* of the place it is in: of those before it too */
	uint64_t number;      /* greater than that of every process started before */
	int64_t start_at;     /* ms since 1970 */
	int64_t restart_at;   /* of the last start that was not the first one; 0: never */
	int32_t pid;          /* 0 before it runs */
	uint32_t generation;
	uint32_t starts;  /* of processes in its place, this one included */
	uint32_t state;   /* enum shm_state */
	uint32_t server;  /* 1: it is to serve clients */
	uint32_t serving; /* 1: it does, and is not on its way out */
};

/* The same with what the process tells of itself. */
struct shm_row {
	struct shm_process process;
	uint64_t counters[16];
	uint32_t keys_size;
	char keys[2048];
};

/* Seats that may be taken: 0 to this - 1. 0 in a process without the table. */
unsigned shm_state_seats(void);

/* Reads one seat. Returns 1, or 0 when it is nobody's. Never waits for another process. */
int shm_state_read(unsigned seat, struct shm_row *row);

/* The counters of all processes that are and that ever were, added up: exact for those that only
 * grow, at one moment. */
void shm_state_totals(uint64_t *totals);

/* The seat of the calling process, or -1. */
int shm_state_own(void);

/* Replaces what users tell about the calling process. Returns 0, or -1: it has no seat, or `size`
 * is above SHM_KEYS_SIZE. */
int shm_state_set_keys(const char *block, size_t size);

#endif
