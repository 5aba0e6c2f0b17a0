/*
 * What the processes of this host are doing, read by any of them through LuaJIT's FFI without the
 * help of the process in question.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_ACTIVITY_ABI_H
#define PERIGEE_SHM_ACTIVITY_ABI_H

#include <stdint.h>

enum { SHM_ACTIVITY_REQUESTS = 24 }; /* of a process that are shown, the oldest first */

/* A request in flight; texts are cut to fit and end with a NUL. */
struct shm_activity_request {
	uint64_t serial; /* of its process; with that, who it is */
	uint64_t
		since; /* when the handler got it: the monotonic clock's ms, as uv.hrtime() / 1e6 */
	uint32_t version_minor; /* of HTTP/1 */
	char method[16];
	char target[160]; /* as received */
	char id[64];      /* as req.id */
	char ip[48];      /* as req.peer_ip */
	char where[96];   /* "app.lua:10", where its handler waits; "" when it is young */
};

struct shm_activity_list {
	uint64_t at;    /* when it was written, same clock */
	uint32_t total; /* requests in flight */
	uint32_t count; /* of `requests` */
	struct shm_activity_request requests[SHM_ACTIVITY_REQUESTS];
};

/* A loop that has not come round for a while. */
struct shm_activity_stall {
	uint64_t since;   /* same clock; 0: the loop comes round */
	uint64_t serving; /* serial of the request whose code runs, 0 for none */
	char where[256];  /* "at app.lua:10: in function 'spin'" */
	char stack[4096]; /* "\tapp.lua:10: in function 'spin'\n…" */
};

/* The requests in flight of the process in a seat (0 to 1023), as its last look or, when it is
 * stalled, its watchdog told them. Those younger than a second may be missing. Returns 0, or -1
 * when it could not be read just now, or this process cannot read any. Never waits. */
int shm_activity_requests(uint32_t seat, struct shm_activity_list *into);

/* Whether the process in a seat is stalled, and where. Returns as shm_activity_requests. */
int shm_activity_stall(uint32_t seat, struct shm_activity_stall *into);

#endif
