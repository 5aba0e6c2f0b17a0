/* Requests about processes: restart, stop, manage, ready. Owned by the manager. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/control_private.h"

/* --- what a request waits for ----------------------------------------------------------------- */

static bool is_done(const struct control_request *request)
{
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
		if (request->slots[i])
			return false;
	}
	return request->instance_count == 0;
}

static void add_instance(struct control_request *request, struct managed_instance *instance)
{
	struct managed_instance **grown = reallocarray(
		(void *)request->instances, request->instance_count + 1, sizeof(void *));

	if (grown == NULL)
		return; /* it is not waited for */
	request->instances = grown;
	grown[request->instance_count++] = instance;
}

static bool remove_instance(
	struct control_request *request, const struct managed_instance *instance)
{
	for (size_t i = 0; i < request->instance_count; i++) {
		if (request->instances[i] != instance)
			continue;
		request->instances[i] = request->instances[--request->instance_count];
		return true;
	}
	return false;
}

/* --- names ------------------------------------------------------------------------------------ */

/* "worker 0" as in the log, or "worker-0" as in app.m.name; MANAGER_WORKERS_MAX when it is none. */
static uint32_t slot_by_name(const struct manager *manager, const char *name)
{
	char log_name[24];

	for (uint32_t i = 0; i < manager->workers; i++) {
		(void)snprintf(log_name, sizeof log_name, "worker %u", i);
		if (strcmp(name, log_name) == 0 || strcmp(name, manager->slots[i].place.name) == 0)
			return i;
	}
	return MANAGER_WORKERS_MAX;
}

static void fail_unknown(struct control_request *request, const char *name)
{
	const struct manager *manager = control_manager(request);
	struct buffer block = {0};
	char text[128];

	(void)snprintf(text, sizeof text, "there is no process called '%.64s'", name);
	(void)record_add(&block, WIRE_KEY_OK, "0");
	(void)record_add(&block, WIRE_KEY_CODE, "ENOENT");
	(void)record_add(&block, WIRE_KEY_MESSAGE, text);
	if (request->op == CONTROL_RESTART)
		(void)record_add(&block, WIRE_KEY_NAME, "all");
	for (uint32_t i = 0; request->op == CONTROL_RESTART && i < manager->workers; i++)
		(void)record_add(&block, WIRE_KEY_NAME, manager->slots[i].place.name);
	LIST_EACH(node, &manager->managed)
	(void)record_add(&block, WIRE_KEY_NAME, LIST_ENTRY(node, struct managed, node)->terms.name);
	control_answer(request, &block);
}

/* One that does not go with the workers is restarted only when it is over, as a durable one of
 * Sanic's. Answers when it cannot be. */
static bool may_restart(struct control_request *request, const struct managed_instance *instance)
{
	const struct managed_terms *terms = &instance->managed->terms;

	if (!terms->restartable)
		control_fail(request, "EPERM", "'%s' is not restartable", terms->name);
	else if (!terms->transient && (instance->child != NULL || instance->waiting))
		control_fail(request, "EBUSY",
			"'%s' is not in a final state, and only what is transient is restarted in "
			"any other",
			instance->place.name);
	return !request->answered;
}

/* Adds one instance, or all of a name, when they may be. */
static void choose_managed(struct control_request *request, const char *name)
{
	struct managed_instance *one;
	const struct managed *managed = managed_find(control_manager(request), name, &one);

	if (managed == NULL) {
		fail_unknown(request, name);
		return;
	}
	for (uint32_t i = 0; i < managed->count && !request->answered; i++) {
		if ((one == NULL || managed->instances[i] == one) &&
			(request->op == CONTROL_STOP ||
				may_restart(request, managed->instances[i])))
			add_instance(request, managed->instances[i]);
	}
}

/* All workers, and what goes with them. */
static void choose_all(struct control_request *request)
{
	struct manager *manager = control_manager(request);

	memset(request->slots, 1, manager->workers);
	LIST_EACH(node, &manager->managed)
	{
		const struct managed *managed = LIST_ENTRY(node, struct managed, node);

		for (uint32_t i = 0; managed->terms.transient && i < managed->count; i++)
			add_instance(request, managed->instances[i]);
	}
}

static void choose_own(struct control_request *request)
{
	const struct child *asker = request->asker;

	if (asker->instance != NULL)
		choose_managed(request, asker->instance->place.name);
	else if (asker->role != WIRE_ROLE_WORKER)
		control_fail(request, "EINVAL", "say which process is meant");
	else if (control_manager(request)->slots[asker->slot].serving != asker)
		control_succeed(request, "this process is being replaced already");
	else
		request->slots[asker->slot] = true;
}

static void choose_named(struct control_request *request, const char *name)
{
	uint32_t index = slot_by_name(control_manager(request), name);

	if (index < MANAGER_WORKERS_MAX && request->op == CONTROL_STOP)
		control_fail(request, "EINVAL", "workers are not stopped by name, but by scale");
	else if (index < MANAGER_WORKERS_MAX)
		request->slots[index] = true;
	else if (strcmp(name, "all") == 0 && request->op == CONTROL_RESTART)
		choose_all(request);
	else
		choose_managed(request, name);
}

/* Takes what was named; answers when it cannot be. */
static void choose(struct control_request *request, struct slice block)
{
	const char *key;
	const char *value;
	size_t offset = 0;
	bool named = false;

	while (!request->answered && record_next(block, &offset, &key, &value)) {
		if (strcmp(key, WIRE_KEY_NAME) != 0)
			continue;
		named = true;
		choose_named(request, value);
	}
	if (!named)
		choose_own(request);
}

/* --- beginnings ------------------------------------------------------------------------------- */

static void tell(const struct control_request *request, const char *what, const char *name)
{
	char label[SINK_LABEL_SIZE];

	child_label(request->asker, label);
	sink_log(&control_manager(request)->sink, "%s of %s: asked by %s", what, name, label);
}

static void restart_slots(const struct control_request *request, bool shutdown_first)
{
	struct manager *manager = control_manager(request);
	char name[24];

	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
		if (!request->slots[i])
			continue;
		(void)snprintf(name, sizeof name, "worker %u", i);
		tell(request, "restart", name);
		slot_restart(&manager->slots[i], shutdown_first);
	}
}

void control_begin_restart(struct control_request *request, struct slice block)
{
	struct manager *manager = control_manager(request);
	const char *order = record_find(block, "order");
	bool shutdown_first = !manager->current->settings.startup_first;

	choose(request, block);
	if (request->answered)
		return;
	if (order != NULL)
		shutdown_first = strcmp(order, "shutdown_first") == 0;
	restart_slots(request, shutdown_first);
	for (size_t i = 0; i < request->instance_count; i++) {
		tell(request, "restart", request->instances[i]->place.name);
		managed_restart(request->instances[i]);
	}
	manager_reconcile(manager);
	managed_reconcile(manager);
}

void control_begin_stop(struct control_request *request, struct slice block)
{
	choose(request, block);
	for (size_t i = 0; !request->answered && i < request->instance_count; i++) {
		tell(request, "stop", request->instances[i]->place.name);
		managed_stop(request->instances[i]);
	}
	managed_reconcile(control_manager(request));
}

void control_begin_manage(struct control_request *request, struct slice block)
{
	struct manager *manager = control_manager(request);
	const struct managed *managed;
	struct error error;

	managed = managed_add(manager, block, &error);
	if (managed == NULL) {
		control_fail(request, error.code == EEXIST ? "EEXIST" : "EINVAL", "%s", error.text);
		return;
	}
	tell(request, "start", managed->terms.name);
	for (uint32_t i = 0; managed->terms.auto_start && i < managed->count; i++)
		add_instance(request, managed->instances[i]);
	managed_reconcile(manager);
	if (is_done(request))
		control_succeed(request, NULL);
}

void control_begin_ready(struct control_request *request, struct slice block)
{
	(void)block;
	if (request->asker->instance == NULL)
		control_fail(request, "EINVAL", "this process is not managed");
	else
		control_succeed(request, NULL);
	child_on_ready(request->asker);
}

/* --- slots ------------------------------------------------------------------------------------ */

/* The asker's own worker goes last, so that it can tell what became of the others. */
bool control_defers(const struct slot *slot)
{
	CONTROL_EACH(node, slot->manager)
	{
		const struct control_request *request = control_at(node);
		bool own = request->asker->role == WIRE_ROLE_WORKER &&
			   request->asker->slot == slot->index;

		if (!own || !request->slots[slot->index])
			continue;
		if (request->instance_count != 0)
			return true;
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

		CONTROL_EACH(node, manager)
		wanted = wanted || control_at(node)->slots[i];
		if (!wanted)
			slot_forget_restart(&manager->slots[i]);
	}
}

bool control_all_served(const struct manager *manager)
{
	for (uint32_t i = 0; i < manager->workers; i++) {
		if (manager->slots[i].serving == NULL)
			return false;
	}
	return true;
}

void control_on_slot_turned(struct slot *slot)
{
	struct manager *manager = slot->manager;

	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);
		bool awaited = request->slots[slot->index];

		request->slots[slot->index] = false;
		if ((awaited && is_done(request)) ||
			(request->op == CONTROL_SCALE && control_all_served(manager)))
			control_succeed(request, NULL);
	}
	control_sweep(&manager->control);
}

void control_on_slot_failed(struct slot *slot, const char *why)
{
	struct manager *manager = slot->manager;

	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->committed)
			control_fail(request, "failed", "generation %u serves, but %s",
				manager->current->number, why);
		else if (request->slots[slot->index] ||
			 (request->op == CONTROL_SCALE && slot->index < manager->workers))
			control_fail(request, "failed", "%s", why);
	}
	forget_restarts(manager);
	control_sweep(&manager->control);
}

/* --- instances -------------------------------------------------------------------------------- */

void control_on_instance_ready(struct managed_instance *instance)
{
	struct manager *manager = instance->managed->manager;

	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->op != CONTROL_STOP && remove_instance(request, instance) &&
			is_done(request))
			control_succeed(request, NULL);
	}
	control_sweep(&manager->control);
}

void control_on_instance_failed(struct managed_instance *instance, const char *why)
{
	struct manager *manager = instance->managed->manager;

	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (request->op == CONTROL_STOP || !remove_instance(request, instance))
			continue;
		for (size_t i = 0; i < request->instance_count; i++)
			managed_forget_restart(request->instances[i]);
		control_fail(request, "failed", "%s", why);
	}
	forget_restarts(manager);
	control_sweep(&manager->control);
}

/* Nothing runs in it, and nothing is to. */
void control_on_instance_ended(struct managed_instance *instance)
{
	struct manager *manager = instance->managed->manager;

	CONTROL_EACH(node, manager)
	{
		struct control_request *request = control_at(node);

		if (!remove_instance(request, instance))
			continue;
		if (request->op != CONTROL_STOP)
			control_fail(request, "superseded", "'%s' was stopped meanwhile",
				instance->place.name);
		else if (is_done(request))
			control_succeed(request, NULL);
	}
	control_sweep(&manager->control);
}
