/* The watchdog's findings: see watchdog_report.h. In workers, on the watchdog's thread. */
#include "worker/watchdog_report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "http/open_requests.h"
#include "script/script_stack.h"
#include "wire/message.h"
#include "wire/role.h"
#include "worker/activity.h"
#include "worker/snapshot.h"

#define ASK_TIME   100  /* ms that the interpreter has to answer */
#define COPY_TIME  300  /* ms that a copy of the process has */
#define TEXT_MAX   8192 /* bytes to the manager */
#define PLACES_MAX 256  /* slow callbacks that are named; more are not worth reading */
#define OTHERS_MAX 5    /* other requests that are named */

/* What was found out last. In memory that the copy of the process shares. */
struct findings {
	struct shm_activity_list list;       /* requests in flight */
	struct shm_activity_request serving; /* the one whose code runs; serial 0: none */
	struct script_stack stack;
};

static struct findings *findings;
static struct script_stack answer; /* the interpreter's */

static struct {
	char names[PLACES_MAX][sizeof answer.origin];
	unsigned count;
} places; /* of slow callbacks that were named */

int watchdog_report_prepare(struct error *error)
{
	findings = snapshot_memory(sizeof *findings);
	return findings != NULL ? 0 : error_set_errno(error, "no memory for the watchdog");
}

/* --- finding out ------------------------------------------------------------------------------ */

static void note_serving(void *context, const struct http_open_request *request)
{
	(void)context;
	activity_note(&findings->serving, request);
}

/* In a copy of the process. */
static void look_around(void *context)
{
	const struct watchdog_setup *setup = context;
	uint64_t serving = script_stack_serving(setup->script);
	uint64_t entry;

	if (script_stack_is_in_lua(setup->script, &entry) && serving != 0)
		http_open_request_find(serving, note_serving, NULL);
	activity_list(setup->server, &findings->list);
	snapshot_close_all();
	script_stack_walk(setup->script, &findings->stack);
}

/* Whether the interpreter has said where it is. */
static bool ask(const struct watchdog_setup *setup)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	uint64_t until = clock_now() + ASK_TIME;

	script_stack_ask(setup->script, &answer);
	while (!script_stack_answered(setup->script) && clock_now() < until)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
	script_stack_end(setup->script);
	return script_stack_answered(setup->script);
}

static void find_out(const struct watchdog_setup *setup, bool may_ask)
{
	bool answered = false;
	uint64_t entry;

	memset(findings, 0, sizeof *findings);
	if (may_ask && script_stack_is_in_lua(setup->script, &entry))
		answered = ask(setup);
	if (snapshot_run(look_around, (void *)(size_t)setup, COPY_TIME) != 0 &&
		findings->stack.where[0] == '\0')
		(void)snprintf(findings->stack.where, sizeof findings->stack.where,
			"where is not known (%s)", strerror(errno));
	if (answered)
		findings->stack = answer;
}

/* --- in words --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void put(
	char *text, size_t room, const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text + used, room - used, format, arguments);
	va_end(arguments);
}

static void put_request(char *text, size_t room, const struct shm_activity_request *request)
{
	char age[32];

	clock_duration(clock_now() - request->since, age, sizeof age);
	put(text, room, "%s %s HTTP/1.%u for %s (id %s, from %s)", request->method, request->target,
		request->version_minor, age, request->id, request->ip);
}

static void put_others(char *text, size_t room)
{
	const struct shm_activity_list *list = &findings->list;
	unsigned others = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		if (list->requests[i].serial == findings->serving.serial || ++others > OTHERS_MAX)
			continue;
		put(text, room, "%s", others == 1 ? "requests that wait meanwhile:\n\t" : "\t");
		put_request(text, room, &list->requests[i]);
		put(text, room, "\n");
	}
	if (others > OTHERS_MAX || list->total > list->count)
		put(text, room, "\t…\n");
}

static void write_stuck(char *text, size_t room, uint64_t since, bool asleep)
{
	char age[32];

	clock_duration(clock_now() - since, age, sizeof age);
	text[0] = '\0';
	if (findings->serving.serial != 0)
		put_request(text, room, &findings->serving);
	else
		put(text, room, "no heartbeat for %s, in what is no request", age);
	put(text, room, ", %s%s\n", findings->stack.where, asleep ? ", waiting in the kernel" : "");
	if (findings->stack.text[0] != '\0')
		put(text, room, "stack traceback:\n%s", findings->stack.text);
	put_others(text, room);
}

/* --- telling ---------------------------------------------------------------------------------- */

/* What was found out, for readers of shm/activity.h. */
static void publish(const struct watchdog_setup *setup, uint64_t since)
{
	static struct shm_activity_stall stall;

	stall.since = since;
	stall.serving = findings->serving.serial;
	memcpy(stall.where, findings->stack.where, sizeof stall.where);
	memcpy(stall.stack, findings->stack.text, sizeof stall.stack);
	shm_activity_write_stall(setup->place, &findings->list, &stall);
}

int watchdog_report_stuck(
	const struct watchdog_setup *setup, uint64_t since, const struct watchdog_time *time)
{
	/* One packet, made without the allocator, whose lock the stuck thread may hold. */
	static struct {
		struct wire_message message;
		char text[TEXT_MAX];
	} packet;

	bool asleep = watchdog_time_asleep(time);

	find_out(setup, true);
	write_stuck(packet.text, sizeof packet.text, since, asleep);
	publish(setup, since);
	packet.message = (struct wire_message){.version = WIRE_VERSION,
		.type = WIRE_STUCK,
		.role = WIRE_ROLE_WORKER,
		.size = (uint32_t)strlen(packet.text)};
	return fd_send(setup->control, &packet, sizeof packet.message + packet.message.size, NULL,
		0, MSG_DONTWAIT);
}

void watchdog_report_stall(const struct watchdog_setup *setup, uint64_t since)
{
	find_out(setup, false);
	publish(setup, since);
}

void watchdog_sample_slow(const struct watchdog_setup *setup)
{
	find_out(setup, true);
}

static bool is_new(const char *place)
{
	for (unsigned i = 0; i < places.count; i++) {
		if (strcmp(places.names[i], place) == 0)
			return false;
	}
	if (places.count == PLACES_MAX)
		return false;
	memcpy(places.names[places.count++], place, sizeof places.names[0]);
	return true;
}

void watchdog_report_slow(uint64_t milliseconds)
{
	const struct script_stack *stack = &findings->stack;
	const struct shm_activity_request *serving = &findings->serving;
	char age[32];

	if (stack->origin[0] == '\0' || !is_new(stack->origin))
		return;
	clock_duration(milliseconds, age, sizeof age);
	(void)fprintf(stderr,
		"warn: slow callback: the function at %s kept the loop for %s, %s%s%s%s%s\n",
		stack->origin, age, stack->where, serving->serial != 0 ? ", for " : "",
		serving->method, serving->serial != 0 ? " " : "", serving->target);
}
