/* Telling of requests in flight: see activity.h. Runs in workers; costs a request nothing. */
#include "worker/activity.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

#define LOOK_IDLE 1000 /* ms between two looks while nothing was in flight at the last */
#define LOOK_BUSY 100  /* ms else */
#define OLD       1000 /* ms after which it is told where a handler waits */

static void copy(char *to, size_t room, struct slice from)
{
	size_t size = from.size < room ? from.size : room - 1;

	if (size != 0)
		memcpy(to, from.data, size);
	to[size] = '\0';
}

void activity_note(struct shm_activity_request *note, const struct http_open_request *request)
{
	note->serial = request->serial;
	note->where[0] = '\0';
	note->since = request->since;
	note->version_minor = (uint32_t)request->version_minor;
	copy(note->method, sizeof note->method, request->method);
	copy(note->target, sizeof note->target, request->target);
	copy(note->id, sizeof note->id, (struct slice){request->id, strlen(request->id)});
	copy(note->ip, sizeof note->ip, (struct slice){request->ip, strlen(request->ip)});
}

static void add(void *context, const struct http_open_request *request)
{
	struct shm_activity_list *list = context;

	list->total++;
	if (list->count < SHM_ACTIVITY_REQUESTS)
		activity_note(&list->requests[list->count++], request);
}

void activity_list(struct http_server *server, struct shm_activity_list *list)
{
	list->at = clock_now();
	list->total = list->count = 0;
	http_server_each_open(server, add, list);
}

/* Where the handlers of those stand that have taken a while. */
static void locate(const struct activity *activity, struct shm_activity_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		struct shm_activity_request *note = &list->requests[i];

		note->where[0] = '\0';
		if (list->at - note->since >= OLD)
			script_where(
				activity->script, note->serial, note->where, sizeof note->where);
	}
}

static void on_look(uv_timer_t *timer)
{
	struct activity *activity = timer->data;
	uint32_t before = activity->list.total;

	activity_list(activity->server, &activity->list);
	if (before == 0 && activity->list.total == 0)
		return;
	locate(activity, &activity->list);
	shm_activity_write(activity->place, &activity->list);
	uv_timer_set_repeat(timer, activity->list.total == 0 ? LOOK_IDLE : LOOK_BUSY);
}

void activity_start(struct activity *activity, uv_loop_t *loop, struct http_server *server,
	struct script *script, struct shm_activity *place)
{
	activity->script = script;
	activity->server = server;
	activity->place = place;
	CHECK(uv_timer_init(loop, &activity->timer) == 0);
	activity->timer.data = activity;
	(void)uv_timer_start(&activity->timer, on_look, LOOK_IDLE, LOOK_IDLE);
}
