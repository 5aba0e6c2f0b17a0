/* What a worker tells of its requests in flight, for others to read: see shm/activity.h. */
#ifndef PERIGEE_WORKER_ACTIVITY_H
#define PERIGEE_WORKER_ACTIVITY_H

#include <uv.h>

#include "http/open_requests.h"
#include "http/server.h"
#include "script/script.h"
#include "shm/activity.h"

struct activity {
	uv_timer_t timer;
	struct http_server *server;
	struct script *script;
	struct shm_activity *place;
	struct shm_activity_list list;
};

/* Looks at the server's open requests from time to time, from now on. `place` is the seat's. */
void activity_start(struct activity *activity, uv_loop_t *loop, struct http_server *server,
	struct script *script, struct shm_activity *place);

/* All that are open. On the loop, or in a copy of the process; allocates nothing. */
void activity_list(struct http_server *server, struct shm_activity_list *list);

/* One of them, its texts cut to fit. */
void activity_note(struct shm_activity_request *note, const struct http_open_request *request);

#endif
