/* Requests of children, from their coming to their answer. Owned by the manager. */
#include "manager/control_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MESSAGE_MAX (16 * 1024) /* bytes of an answer's text; a traceback may be long */

void control_init(struct control *control)
{
	*control = (struct control){0};
	list_init(&control->requests);
	list_init(&control->answered);
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
	struct control *control = &control_manager(request)->control;

	request->answered = true;
	list_remove(&request->node);
	list_append(&control->answered, &request->node);
	control->waiting--;
}

/* Once: an event that came of beginning the request may have answered it already. */
void control_answer(struct control_request *request, struct buffer *block)
{
	if (!request->answered) {
		send_answer(request, block);
		settle(request);
	}
	buffer_free(block);
}

/* What begins a request goes on reading it, also when that has answered it. */
void control_sweep(struct control *control)
{
	while (control->beginning == 0 && !list_empty(&control->answered)) {
		struct control_request *request = control_at(list_take_first(&control->answered));

		free((void *)request->instances);
		free(request);
	}
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
void control_succeed(struct control_request *request, const char *note)
{
	struct buffer block = {0};

	(void)record_add(&block, WIRE_KEY_OK, "1");
	if (note != NULL)
		add_message(&block, note, strlen(note));
	control_answer(request, &block);
}

static void fail_text(
	struct control_request *request, const char *code, const char *text, size_t size)
{
	struct buffer block = {0};

	(void)record_add(&block, WIRE_KEY_OK, "0");
	(void)record_add(&block, WIRE_KEY_CODE, code);
	add_message(&block, text, size);
	control_answer(request, &block);
}

void control_fail(struct control_request *request, const char *code, const char *format, ...)
{
	char text[2 * ERROR_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fail_text(request, code, text, strlen(text));
}

/* --- reload ----------------------------------------------------------------------------------- */

static void begin_reload(struct control_request *request, struct slice block)
{
	struct reload *reload = &control_manager(request)->reload;
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
	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->op != CONTROL_RELOAD || request->committed ||
			request->attempt > manager->reload.attempt)
			continue;
		fail_text(request, "failed", text, size);
	}
	control_sweep(&manager->control);
}

void control_on_load_committed(struct manager *manager)
{
	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->op == CONTROL_RELOAD && request->attempt <= manager->reload.attempt)
			request->committed = true;
	}
}

void control_on_all_serve(struct manager *manager)
{
	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->committed)
			control_succeed(request, NULL);
	}
	control_sweep(&manager->control);
}

/* --- scale ------------------------------------------------------------------------------------ */

static void begin_scale(struct control_request *request, struct slice block)
{
	struct manager *manager = control_manager(request);
	struct error error;
	uint64_t workers;

	if (record_number(block, "workers", 0, UINT32_MAX, &workers, &error) != 0) {
		control_fail(request, "EINVAL", "%s", error.text);
		return;
	}
	request->workers = (uint32_t)workers;
	if (manager_scale(manager, request->workers, &error) != 0)
		control_fail(request, error.code == EINVAL ? "EINVAL" : "failed", "%s", error.text);
	else if (control_all_served(manager))
		control_succeed(request, NULL);
}

void control_on_scaled(struct manager *manager)
{
	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->op == CONTROL_SCALE && request->workers != manager->workers)
			control_fail(request, "superseded",
				"the number of workers is to be %u by now", manager->workers);
	}
	control_sweep(&manager->control);
}

/* --- terminate -------------------------------------------------------------------------------- */

static void begin_terminate(struct control_request *request, struct slice block)
{
	struct manager *manager = control_manager(request);
	char label[SINK_LABEL_SIZE];

	(void)block;
	child_label(request->asker, label);
	sink_log(&manager->sink, "%s asks to stop", label);
	control_succeed(request, NULL);
	manager_stop(manager);
}

/* --- upgrade ---------------------------------------------------------------------------------- */

static void begin_upgrade(struct control_request *request, struct slice block)
{
	struct manager *manager = control_manager(request);
	char label[SINK_LABEL_SIZE];

	(void)block;
	child_label(request->asker, label);
	upgrade_request(&manager->upgrade, label);
}

bool control_is_quiet(const struct manager *manager)
{
	LIST_EACH(node, &manager->control.requests)
	{
		if (control_at(node)->op != CONTROL_UPGRADE)
			return false;
	}
	return true;
}

void control_on_upgrade(struct manager *manager, const char *why)
{
	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->op != CONTROL_UPGRADE)
			continue;
		if (why != NULL)
			control_fail(request, "failed", "%s", why);
		else
			control_succeed(request, "the new program takes over");
	}
	control_sweep(&manager->control);
}

/* --- requests --------------------------------------------------------------------------------- */

typedef void control_begin(struct control_request *request, struct slice block);

static const struct {
	const char *name;
	control_begin *begin;
} operations[] = {
	[CONTROL_RELOAD] = {"reload", begin_reload},
	[CONTROL_SCALE] = {"scale", begin_scale},
	[CONTROL_TERMINATE] = {"terminate", begin_terminate},
	[CONTROL_UPGRADE] = {"upgrade", begin_upgrade},
	[CONTROL_RESTART] = {"restart", control_begin_restart},
	[CONTROL_STOP] = {"stop", control_begin_stop},
	[CONTROL_MANAGE] = {"manage", control_begin_manage},
	[CONTROL_READY] = {"ready", control_begin_ready},
};

static bool find_operation(struct slice block, enum control_op *ret_op)
{
	const char *name = record_find(block, "op");

	for (size_t i = 0; name != NULL && i < sizeof operations / sizeof operations[0]; i++) {
		*ret_op = (enum control_op)i;
		if (strcmp(operations[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Whether the request may begin; it is answered if not. */
static bool admit(struct control_request *request, struct slice block)
{
	const struct manager *manager = control_manager(request);
	struct error error;

	if (record_check(block, &error) != 0)
		control_fail(request, "EPROTO", "%s", error.text);
	else if (!find_operation(block, &request->op))
		control_fail(request, "EPROTO", "the manager knows no such operation");
	else if (manager_stopping(manager))
		control_fail(request, "stopping", "the host is stopping");
	else if (manager->current == NULL)
		control_fail(request, "busy", "nothing is loaded yet");
	else if (manager->control.waiting > CONTROL_REQUESTS_MAX)
		control_fail(request, "busy", "%d requests wait for their answers already",
			CONTROL_REQUESTS_MAX);
	return !request->answered;
}

/* See control.h: what would wait for itself does not wait. */
static bool can_wait(const struct child *asker)
{
	return asker->role != WIRE_ROLE_ZYGOTE &&
	       (asker->state == CHILD_READY || asker->state == CHILD_DRAINING ||
		       asker->early == CHILD_EARLY_READY);
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
		operations[request->op].begin(request, block);
		if (!request->answered && !can_wait(asker))
			control_succeed(request, "begun");
	}
	control->beginning--;
	control_sweep(control);
}

/* --- askers ----------------------------------------------------------------------------------- */

void control_before_drain(struct child *child)
{
	struct manager *manager = child->manager;

	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);
		bool goes_on = request->op == CONTROL_RELOAD && !request->committed;

		if (request->asker == child && !goes_on)
			control_succeed(request, "this process goes before all is done");
	}
	control_sweep(&manager->control);
}

void control_on_gone(const struct child *child)
{
	struct manager *manager = child->manager;

	CONTROL_EACH(node, manager)
	{
		if (control_at(node)->asker == child)
			settle(control_at(node));
	}
	control_sweep(&manager->control);
}

void control_on_stopping(struct manager *manager)
{
	CONTROL_EACH(node, manager)
	control_fail(control_at(node), "stopping", "the host is stopping");
	control_sweep(&manager->control);
}
