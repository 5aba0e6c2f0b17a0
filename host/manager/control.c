/* Requests of children, from their coming to their answer. Owned by the manager. */
#include "manager/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "manager/manager.h"
#include "wire/record.h"

#define MESSAGE_MAX (16 * 1024) /* bytes of an answer's text; a traceback may be long */

struct control_request;

typedef void control_begin(struct control_request *request, struct slice block);

struct control_request {
	struct list node;    /* in control->requests, then in control->answered */
	struct child *asker; /* its end removes the request */
	int32_t id;
	bool answered;
	control_begin *begin;            /* what was asked for */
	uint32_t attempt;                /* reload: answered by this load or a later one */
	bool committed;                  /* reload: the load was good */
	uint32_t workers;                /* scale: how many there are to be */
	bool slots[MANAGER_WORKERS_MAX]; /* restart: those that have not turned yet */
};

void control_init(struct control *control)
{
	*control = (struct control){0};
	list_init(&control->requests);
	list_init(&control->answered);
}

static struct manager *manager_of(const struct control_request *request)
{
	return request->asker->manager;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* A child that does not read its answers has itself to blame. */
static void send_answer(const struct control_request *request, const struct buffer *block)
{
	struct wire_message message = {
		.type = WIRE_ANSWER, .role = (uint16_t)request->asker->role, .number = request->id};

	(void)wire_send(
		request->asker->control, &message, block->data, block->size, NULL, 0, MSG_DONTWAIT);
}

/* From now on no event finds the request; sweep frees it. */
static void settle(struct control_request *request)
{
	struct control *control = &manager_of(request)->control;

	request->answered = true;
	list_remove(&request->node);
	list_append(&control->answered, &request->node);
	control->waiting--;
}

/* Once: an event that came of beginning the request may have answered it already. */
static void answer(struct control_request *request, struct buffer *block)
{
	if (!request->answered) {
		send_answer(request, block);
		settle(request);
	}
	buffer_free(block);
}

/* What begins a request goes on reading it, also when that has answered it. */
static void sweep(struct control *control)
{
	while (control->beginning == 0 && !list_empty(&control->answered))
		free(LIST_ENTRY(list_take_first(&control->answered), struct control_request, node));
}

static void add_message(struct buffer *block, const char *text, size_t size)
{
	char message[MESSAGE_MAX];

	size = strnlen(text, size < sizeof message - 1 ? size : sizeof message - 1);
	while (size != 0 && text[size - 1] == '\n')
		size--;
	memcpy(message, text, size);
	message[size] = '\0';
	(void)record_add(block, WIRE_KEY_MESSAGE, message);
}

/* A note may be NULL: there is nothing more to say. */
static void succeed(struct control_request *request, const char *note)
{
	struct buffer block = {0};

	(void)record_add(&block, WIRE_KEY_OK, "1");
	if (note != NULL)
		add_message(&block, note, strlen(note));
	answer(request, &block);
}

static void fail_text(
	struct control_request *request, const char *code, const char *text, size_t size)
{
	struct buffer block = {0};

	(void)record_add(&block, WIRE_KEY_OK, "0");
	(void)record_add(&block, WIRE_KEY_CODE, code);
	add_message(&block, text, size);
	answer(request, &block);
}

__attribute__((format(printf, 3, 4))) static void fail(
	struct control_request *request, const char *code, const char *format, ...)
{
	char text[2 * ERROR_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fail_text(request, code, text, strlen(text));
}

#define EACH_REQUEST(node, manager) LIST_EACH(node, &(manager)->control.requests)

static struct control_request *request_at(struct list *node)
{
	return LIST_ENTRY(node, struct control_request, node);
}

/* --- reload ----------------------------------------------------------------------------------- */

static void begin_reload(struct control_request *request, struct slice block)
{
	struct reload *reload = &manager_of(request)->reload;
	char label[SINK_LABEL_SIZE];
	char why[SINK_LABEL_SIZE + 16];

	(void)block;
	request->attempt = reload->attempt + 1; /* that begins now, or after the one under way */
	child_label(request->asker, label);
	(void)snprintf(why, sizeof why, "asked by %s", label);
	reload_request(reload, why);
}

void control_on_load_failed(struct manager *manager, const char *text, size_t size)
{
	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);

		if (request->begin != begin_reload || request->committed ||
			request->attempt > manager->reload.attempt)
			continue;
		fail_text(request, "failed", text, size);
	}
	sweep(&manager->control);
}

void control_on_load_committed(struct manager *manager)
{
	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);

		if (request->begin == begin_reload && request->attempt <= manager->reload.attempt)
			request->committed = true;
	}
}

void control_on_all_serve(struct manager *manager)
{
	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);

		if (request->committed)
			succeed(request, NULL);
	}
	sweep(&manager->control);
}

/* --- restart ---------------------------------------------------------------------------------- */

static bool has_slots(const struct control_request *request)
{
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
		if (request->slots[i])
			return true;
	}
	return false;
}

/* "worker 0" as in the log, or "worker-0" as in app.m.name; MANAGER_WORKERS_MAX when it is none. */
static uint32_t slot_by_name(const struct manager *manager, const char *name)
{
	char log_name[24];
	char app_name[24];

	for (uint32_t i = 0; i < manager->workers; i++) {
		(void)snprintf(log_name, sizeof log_name, "worker %u", i);
		(void)snprintf(app_name, sizeof app_name, "worker-%u", i);
		if (strcmp(name, log_name) == 0 || strcmp(name, app_name) == 0)
			return i;
	}
	return MANAGER_WORKERS_MAX;
}

static void fail_unknown(struct control_request *request, const char *name)
{
	const struct manager *manager = manager_of(request);
	struct buffer block = {0};
	char text[128];

	(void)snprintf(text, sizeof text, "there is no process called '%.64s'", name);
	(void)record_add(&block, WIRE_KEY_OK, "0");
	(void)record_add(&block, WIRE_KEY_CODE, "ENOENT");
	(void)record_add(&block, WIRE_KEY_MESSAGE, text);
	(void)record_add(&block, WIRE_KEY_NAME, "all");
	for (uint32_t i = 0; i < manager->workers; i++) {
		(void)snprintf(text, sizeof text, "worker-%u", i);
		(void)record_add(&block, WIRE_KEY_NAME, text);
	}
	answer(request, &block);
}

static void choose_own(struct control_request *request)
{
	const struct child *asker = request->asker;

	if (asker->role != WIRE_ROLE_WORKER)
		fail(request, "EINVAL", "say which process is to be restarted");
	else if (manager_of(request)->slots[asker->slot].serving != asker)
		succeed(request, "this process is being replaced already");
	else
		request->slots[asker->slot] = true;
}

/* Marks the slots that were named; answers when they cannot be. */
static void choose(struct control_request *request, struct slice block)
{
	const struct manager *manager = manager_of(request);
	const char *key;
	const char *value;
	size_t offset = 0;
	bool named = false;

	while (!request->answered && record_next(block, &offset, &key, &value)) {
		uint32_t index;

		if (strcmp(key, WIRE_KEY_NAME) != 0)
			continue;
		named = true;
		if (strcmp(value, "all") == 0) {
			memset(request->slots, 1, manager->workers);
			continue;
		}
		index = slot_by_name(manager, value);
		if (index < MANAGER_WORKERS_MAX)
			request->slots[index] = true;
		else
			fail_unknown(request, value);
	}
	if (!named)
		choose_own(request);
}

static void begin_restart(struct control_request *request, struct slice block)
{
	struct manager *manager = manager_of(request);
	const char *order = record_find(block, "order");
	char label[SINK_LABEL_SIZE];
	bool shutdown_first = !manager->current->settings.startup_first;

	choose(request, block);
	if (request->answered)
		return;
	if (order != NULL)
		shutdown_first = strcmp(order, "shutdown_first") == 0;
	child_label(request->asker, label);
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
		if (!request->slots[i])
			continue;
		sink_log(&manager->sink, "restart of worker %u: asked by %s", i, label);
		slot_restart(&manager->slots[i], shutdown_first);
	}
	manager_reconcile(manager);
}

/* The asker's own worker goes last, so that it can tell what became of the others. */
bool control_defers(const struct slot *slot)
{
	EACH_REQUEST(node, slot->manager)
	{
		const struct control_request *request = request_at(node);
		bool own = request->asker->role == WIRE_ROLE_WORKER &&
			   request->asker->slot == slot->index;

		if (!own || !request->slots[slot->index])
			continue;
		for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
			if (request->slots[i] && i != slot->index)
				return true;
		}
	}
	return false;
}

/* What no request asks for any more is not done. */
static void forget_restarts(struct manager *manager)
{
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
		bool wanted = false;

		EACH_REQUEST(node, manager)
		wanted = wanted || request_at(node)->slots[i];
		if (!wanted)
			slot_forget_restart(&manager->slots[i]);
	}
}

/* --- scale ------------------------------------------------------------------------------------ */

static bool all_served(const struct manager *manager)
{
	for (uint32_t i = 0; i < manager->workers; i++) {
		if (manager->slots[i].serving == NULL)
			return false;
	}
	return true;
}

static void begin_scale(struct control_request *request, struct slice block)
{
	struct manager *manager = manager_of(request);
	struct error error;
	uint64_t workers;

	if (record_number(block, "workers", 0, UINT32_MAX, &workers, &error) != 0) {
		fail(request, "EINVAL", "%s", error.text);
		return;
	}
	request->workers = (uint32_t)workers;
	if (manager_scale(manager, request->workers, &error) != 0)
		fail(request, error.code == EINVAL ? "EINVAL" : "failed", "%s", error.text);
	else if (all_served(manager))
		succeed(request, NULL);
}

void control_on_scaled(struct manager *manager)
{
	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);

		if (request->begin == begin_scale && request->workers != manager->workers)
			fail(request, "superseded", "the number of workers is to be %u by now",
				manager->workers);
	}
	sweep(&manager->control);
}

/* --- slots ------------------------------------------------------------------------------------ */

void control_on_slot_turned(struct slot *slot)
{
	struct manager *manager = slot->manager;

	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);

		request->slots[slot->index] = false;
		if ((request->begin == begin_restart && !has_slots(request)) ||
			(request->begin == begin_scale && all_served(manager)))
			succeed(request, NULL);
	}
	sweep(&manager->control);
}

void control_on_slot_failed(struct slot *slot, const char *why)
{
	struct manager *manager = slot->manager;

	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);

		if (request->committed)
			fail(request, "failed", "generation %u serves, but %s",
				manager->current->number, why);
		else if (request->slots[slot->index] ||
			 (request->begin == begin_scale && slot->index < manager->workers))
			fail(request, "failed", "%s", why);
	}
	forget_restarts(manager);
	sweep(&manager->control);
}

/* --- terminate -------------------------------------------------------------------------------- */

static void begin_terminate(struct control_request *request, struct slice block)
{
	struct manager *manager = manager_of(request);
	char label[SINK_LABEL_SIZE];

	(void)block;
	child_label(request->asker, label);
	sink_log(&manager->sink, "%s asks to stop", label);
	succeed(request, NULL);
	manager_stop(manager);
}

/* --- requests --------------------------------------------------------------------------------- */

static const struct {
	const char *op;
	control_begin *begin;
} operations[] = {
	{"reload", begin_reload},
	{"restart", begin_restart},
	{"scale", begin_scale},
	{"terminate", begin_terminate},
};

static control_begin *find_operation(struct slice block)
{
	const char *op = record_find(block, "op");

	for (size_t i = 0; op != NULL && i < sizeof operations / sizeof operations[0]; i++) {
		if (strcmp(operations[i].op, op) == 0)
			return operations[i].begin;
	}
	return NULL;
}

/* Whether the request may begin; it is answered if not. */
static bool admit(struct control_request *request, struct slice block)
{
	const struct manager *manager = manager_of(request);
	struct error error;

	if (record_check(block, &error) != 0)
		fail(request, "EPROTO", "%s", error.text);
	else if ((request->begin = find_operation(block)) == NULL)
		fail(request, "EPROTO", "the manager knows no such operation");
	else if (manager_stopping(manager))
		fail(request, "stopping", "the host is stopping");
	else if (manager->current == NULL)
		fail(request, "busy", "nothing is loaded yet");
	else if (manager->control.waiting > CONTROL_REQUESTS_MAX)
		fail(request, "busy", "%d requests wait for their answers already",
			CONTROL_REQUESTS_MAX);
	return !request->answered;
}

/* See control.h: what would wait for itself does not wait. */
static bool can_wait(const struct child *asker)
{
	return asker->role != WIRE_ROLE_ZYGOTE &&
	       (asker->state == CHILD_READY || asker->state == CHILD_DRAINING);
}

void control_on_request(struct child *asker, int32_t id, struct slice block)
{
	struct control *control = &asker->manager->control;
	struct control_request *request = calloc(1, sizeof *request);

	if (request == NULL)
		return;
	request->asker = asker;
	request->id = id;
	list_append(&control->requests, &request->node);
	control->waiting++;
	control->beginning++;
	if (admit(request, block)) {
		request->begin(request, block);
		if (!request->answered && !can_wait(asker))
			succeed(request, "begun");
	}
	control->beginning--;
	sweep(control);
}

/* --- askers ----------------------------------------------------------------------------------- */

void control_before_drain(struct child *child)
{
	struct manager *manager = child->manager;

	EACH_REQUEST(node, manager)
	{
		struct control_request *request = request_at(node);
		bool goes_on = request->begin == begin_reload && !request->committed;

		if (request->asker == child && !goes_on)
			succeed(request, "this process goes before all is done");
	}
	sweep(&manager->control);
}

void control_on_gone(const struct child *child)
{
	struct manager *manager = child->manager;

	EACH_REQUEST(node, manager)
	{
		if (request_at(node)->asker == child)
			settle(request_at(node));
	}
	sweep(&manager->control);
}

void control_on_stopping(struct manager *manager)
{
	EACH_REQUEST(node, manager)
	fail(request_at(node), "stopping", "the host is stopping");
	sweep(&manager->control);
}
