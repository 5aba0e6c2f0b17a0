/* Managed processes. Owned by the manager. */
#include "manager/managed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "manager/managed_door.h"
#include "manager/manager.h"

#define YOUNG_FACTOR 5 /* as in slot.c: one that lived so many restart_delay_min was all right */

/* --- instances -------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The instance, and with the last one its name, are no more. */
/* Its place is closed. */
static void close_instance(struct managed_instance *instance)
{
	struct managed *managed = instance->managed;

	uv_close((uv_handle_t *)&instance->delayed, on_closed);
	for (uint32_t i = 0; i < managed->count; i++) {
		if (managed->instances[i] == instance)
			managed->instances[i] = managed->instances[--managed->count];
	}
	if (managed->count != 0)
		return;
	list_remove(&managed->node);
	managed_door_close(managed);
	managed_terms_free(&managed->terms);
	free(managed);
}

static void reconcile(struct managed_instance *instance);

static void on_delayed(uv_timer_t *timer)
{
	struct managed_instance *instance = timer->data;

	instance->waiting = false;
	reconcile(instance);
}

static void cancel_delay(struct managed_instance *instance)
{
	(void)uv_timer_stop(&instance->delayed);
	instance->waiting = false;
}

/* What the terms say of its place; a process that runs there has its old name until it is replaced.
 */
static void name_place(struct managed_instance *instance)
{
	const struct managed_terms *terms = &instance->managed->terms;

	instance->place.role = terms->function != NULL ? "managed" : "command";
	if (terms->workers == 1)
		(void)snprintf(
			instance->place.name, sizeof instance->place.name, "%s", terms->name);
	else
		(void)snprintf(instance->place.name, sizeof instance->place.name, "%s-%u",
			terms->name, instance->index);
}

static void open_instance(struct managed *managed, uint32_t index)
{
	struct managed_instance *instance = calloc(1, sizeof *instance);

	CHECK(instance != NULL);
	instance->managed = managed;
	instance->index = index;
	instance->wanted = managed->terms.auto_start;
	place_init(&instance->place, managed->manager, "managed", false, "%s", "");
	name_place(instance);
	CHECK(uv_timer_init(&managed->manager->loop, &instance->delayed) == 0);
	instance->delayed.data = instance;
	managed->instances[managed->count++] = instance;
	if (!instance->wanted)
		place_rest(&instance->place, SHM_STATE_NONE);
}

static struct managed_instance *find_index(const struct managed *managed, uint32_t index)
{
	for (uint32_t i = 0; i < managed->count; i++) {
		if (managed->instances[i]->index == index)
			return managed->instances[i];
	}
	return NULL;
}

/* --- starting --------------------------------------------------------------------------------- */

/* Whether it may start once more of its own accord, which is noted. */
static bool may_restart(struct managed_instance *instance)
{
	const struct managed_terms *terms = &instance->managed->terms;
	uint64_t now = clock_now();
	uint32_t recent = 0;

	for (uint32_t i = 0; i < instance->restart_count && i < MANAGED_RESTARTS_MAX; i++)
		recent += now - instance->restarts[i] < terms->within;
	if (recent >= terms->max_restarts)
		return false;
	instance->restarts[instance->restart_count++ % MANAGED_RESTARTS_MAX] = now;
	return true;
}

static void give_up(struct managed_instance *instance)
{
	const struct managed_terms *terms = &instance->managed->terms;
	char within[32];

	clock_duration(terms->within, within, sizeof within);
	sink_log(&instance->managed->manager->sink,
		"%s is given up: it was restarted %u times within %s already", instance->place.name,
		terms->max_restarts, within);
	instance->wanted = false;
}

/* Its process ended, or could not be started, unasked: once more, later? */
static void follow_policy(struct managed_instance *instance, bool failed, uint64_t life)
{
	const struct managed_terms *terms = &instance->managed->terms;
	const struct manager_settings *settings = &instance->managed->manager->current->settings;

	if (terms->policy == MANAGED_RESTART_NEVER ||
		(terms->policy == MANAGED_RESTART_ON_FAILURE && !failed)) {
		instance->wanted = false;
		return;
	}
	if (!may_restart(instance)) {
		give_up(instance);
		return;
	}
	if (life >= settings->restart_delay_min * YOUNG_FACTOR || instance->delay == 0)
		instance->delay = settings->restart_delay_min;
	instance->waiting = true;
	(void)uv_timer_start(&instance->delayed, on_delayed, instance->delay, 0);
	instance->delay *= 2;
	if (instance->delay > settings->restart_delay_max)
		instance->delay = settings->restart_delay_max;
}

static void start(struct managed_instance *instance)
{
	struct manager *manager = instance->managed->manager;
	struct error error;

	if (instance->managed->terms.function != NULL)
		instance->child = child_order_managed(manager->current, instance, &error);
	else
		instance->child = child_exec_command(manager->current, instance, &error);
	if (instance->child != NULL)
		return;
	sink_log(&manager->sink, "%s failed to start: %s", instance->place.name, error.text);
	control_on_instance_failed(instance, error.text);
	follow_policy(instance, true, 0);
}

/* Whether there is what it is forked from. */
static bool can_start(const struct managed_instance *instance)
{
	const struct generation *current = instance->managed->manager->current;

	return current != NULL &&
	       (instance->managed->terms.function == NULL ||
		       (current->zygote != NULL && current->zygote->state == CHILD_READY));
}

/* Whether no other instance of the name is between two processes; one in its backoff does not
 * count. */
static bool has_turn(const struct managed_instance *instance)
{
	const struct managed *managed = instance->managed;

	for (uint32_t i = 0; i < managed->count; i++) {
		const struct managed_instance *other = managed->instances[i];

		if (other != instance && other->wanted && !other->waiting &&
			(other->child == NULL || other->child->state != CHILD_READY))
			return false;
	}
	return true;
}

static void end_child(struct managed_instance *instance)
{
	control_before_drain(instance->child);
	child_drain(instance->child, WIRE_DRAIN_SHUTDOWN, -1);
}

/* The next step of an instance; it may be freed here. */
static void reconcile(struct managed_instance *instance)
{
	bool over;

	if (instance->child != NULL) {
		if (!instance->wanted || (instance->again && has_turn(instance)))
			end_child(instance);
		return; /* its end brings us here again */
	}
	instance->again = false;
	if (instance->wanted && !manager_stopping(instance->managed->manager)) {
		if (!instance->waiting && can_start(instance))
			start(instance);
		if (instance->wanted)
			return;
	}
	cancel_delay(instance);
	over = instance->closed ||
	       (!instance->managed->terms.tracked && instance->place.starts != 0);
	if (over)
		place_close(&instance->place); /* who is told that it is gone does not see it any
						  more */
	control_on_instance_ended(instance);
	if (over)
		close_instance(instance);
}

void managed_reconcile(struct manager *manager)
{
	LIST_EACH(node, &manager->managed)
	{
		struct managed *managed = LIST_ENTRY(node, struct managed, node);

		/* From the end, as closing one moves the last into its place. */
		for (uint32_t i = managed->count; i-- > 0;)
			reconcile(managed->instances[i]);
	}
}

void managed_restart(struct managed_instance *instance)
{
	cancel_delay(instance);
	instance->delay = 0;
	instance->restart_count = 0;
	instance->wanted = true;
	instance->stopped = false;
	instance->again = instance->child != NULL;
}

void managed_forget_restart(struct managed_instance *instance)
{
	if (instance->child != NULL && instance->child->state == CHILD_READY)
		instance->again = false;
}

void managed_stop(struct managed_instance *instance)
{
	instance->wanted = false;
	instance->stopped = true;
	instance->again = false;
}

void managed_stop_all(struct manager *manager)
{
	LIST_EACH(node, &manager->managed)
	{
		struct managed *managed = LIST_ENTRY(node, struct managed, node);

		for (uint32_t i = 0; i < managed->count; i++)
			managed_stop(managed->instances[i]);
	}
	managed_reconcile(manager);
}

void managed_pause(struct manager *manager)
{
	LIST_EACH(node, &manager->managed)
	{
		struct managed *managed = LIST_ENTRY(node, struct managed, node);

		for (uint32_t i = 0; i < managed->count; i++) {
			struct managed_instance *instance = managed->instances[i];

			instance->paused = instance->wanted;
			managed_stop(instance);
		}
	}
	managed_reconcile(manager);
}

void managed_resume(struct manager *manager)
{
	LIST_EACH(node, &manager->managed)
	{
		struct managed *managed = LIST_ENTRY(node, struct managed, node);

		for (uint32_t i = 0; i < managed->count; i++) {
			if (managed->instances[i]->paused)
				managed_restart(managed->instances[i]);
			managed->instances[i]->paused = false;
		}
	}
	managed_reconcile(manager);
}

const char *managed_undeclared(const struct manager *manager)
{
	LIST_EACH(node, &manager->managed)
	{
		const struct managed *managed = LIST_ENTRY(node, struct managed, node);

		if (managed->dynamic)
			return managed->terms.name;
	}
	return NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

void managed_on_ready(struct child *child)
{
	control_on_instance_ready(child->instance);
	managed_reconcile(child->manager);
	manager_reconcile(child->manager); /* a restart of all may have waited for it */
}

void managed_on_gone(struct child *child)
{
	struct managed_instance *instance = child->instance;
	const bool failed = child->status.si_code != CLD_EXITED || child->status.si_status != 0;
	char verdict[2 * ERROR_TEXT_MAX];

	instance->child = NULL;
	if (child->ready == 0 && child->fate != CHILD_FATE_KILLED && !instance->again) {
		child_verdict(child, verdict, sizeof verdict);
		control_on_instance_failed(instance, verdict);
	}
	/* One that its zygote did not live to fork is to be forked by the next one. */
	if (instance->wanted && !instance->again && !manager_stopping(child->manager) &&
		(child->pid != 0 || can_start(instance)))
		follow_policy(instance, failed, child->ready == 0 ? 0 : clock_now() - child->ready);
	managed_reconcile(child->manager); /* others may have waited for their turn */
	manager_reconcile(child->manager);
}

/* --- declarations ----------------------------------------------------------------------------- */

struct managed *managed_find(
	struct manager *manager, const char *name, struct managed_instance **ret_instance)
{
	*ret_instance = NULL;
	LIST_EACH(node, &manager->managed)
	{
		struct managed *managed = LIST_ENTRY(node, struct managed, node);

		if (strcmp(managed->terms.name, name) == 0)
			return managed;
		for (uint32_t i = 0; i < managed->count; i++) {
			*ret_instance = managed->instances[i];
			if (strcmp(managed->instances[i]->place.name, name) == 0)
				return managed;
		}
		*ret_instance = NULL;
	}
	return NULL;
}

/* "mailer" with three processes has the names mailer-0 to mailer-2 too. */
static bool is_taken(struct manager *manager, const struct managed_terms *terms)
{
	struct managed_instance *ignored;
	char name[SHM_NAME_SIZE];

	if (managed_find(manager, terms->name, &ignored) != NULL)
		return true;
	for (uint32_t i = 0; terms->workers > 1 && i < terms->workers; i++) {
		(void)snprintf(name, sizeof name, "%s-%u", terms->name, i);
		if (managed_find(manager, name, &ignored) != NULL)
			return true;
	}
	return false;
}

static size_t count_names(const struct manager *manager)
{
	size_t count = 0;

	LIST_EACH(node, &manager->managed)
	count++;
	return count;
}

/* One that cannot listen where it is to runs all the same, and says so. */
static void open_door(struct managed *managed)
{
	struct error error;

	if (managed_door_open(managed, &error) != 0)
		sink_log(&managed->manager->sink, "%s: %s", managed->terms.name, error.text);
}

/* Takes the terms over. NULL with *error, and then they are freed. */
static struct managed *add(
	struct manager *manager, struct managed_terms *terms, bool dynamic, struct error *error)
{
	struct managed *managed = NULL;

	if (is_taken(manager, terms))
		(void)error_set(error, EEXIST, "there is a process '%s' already", terms->name);
	else if (count_names(manager) >= MANAGED_MAX)
		(void)error_set(
			error, EAGAIN, "there are %d managed processes already", MANAGED_MAX);
	else if ((managed = calloc(1, sizeof *managed)) == NULL)
		(void)error_set(error, ENOMEM, "no memory for another managed process");
	if (managed == NULL) {
		managed_terms_free(terms);
		return NULL;
	}
	managed->manager = manager;
	managed->terms = *terms;
	managed->dynamic = dynamic;
	list_append(&manager->managed, &managed->node);
	open_door(managed);
	for (uint32_t i = 0; i < terms->workers; i++)
		open_instance(managed, i);
	return managed;
}

struct managed *managed_add(struct manager *manager, struct slice block, struct error *error)
{
	struct managed_terms terms;

	if (managed_terms_read(&terms, block, error) != 0)
		return NULL;
	return add(manager, &terms, true, error);
}

/* --- reloads ---------------------------------------------------------------------------------- */

static void remove_instance(struct managed_instance *instance)
{
	managed_stop(instance);
	instance->closed = true;
}

/* Another load: what goes with the workers is started anew, and so is what failed. */
static void renew(struct managed *managed)
{
	for (uint32_t i = 0; i < managed->count; i++) {
		struct managed_instance *instance = managed->instances[i];
		bool failed = instance->waiting ||
			      (!instance->wanted && !instance->stopped && instance->place.failed);

		if (instance->closed)
			continue;
		if ((managed->terms.transient && instance->place.starts != 0) || failed)
			managed_restart(instance);
	}
}

/* The same name in another plan: its terms are those of the next processes that start. */
static void replace_terms(struct managed *managed, struct managed_terms *terms)
{
	managed_terms_free(&managed->terms);
	managed->terms = *terms;
	managed->dynamic = false;
	open_door(managed);
	for (uint32_t i = 0; i < terms->workers; i++) {
		struct managed_instance *instance = find_index(managed, i);

		if (instance == NULL)
			open_instance(managed, i);
		else if (instance->closed)
			managed_restart(instance); /* it was on its way out */
	}
	for (uint32_t i = 0; i < managed->count; i++) {
		struct managed_instance *instance = managed->instances[i];

		name_place(instance);
		if (instance->index >= terms->workers)
			remove_instance(instance);
		else
			instance->closed = false;
	}
}

static void take_up(struct manager *manager, struct slice block)
{
	struct managed_instance *instance;
	struct managed_terms terms;
	struct managed *managed;
	struct error error;

	if (managed_terms_read(&terms, block, &error) != 0) {
		sink_log(&manager->sink, "cannot manage a process: %s", error.text);
		return;
	}
	managed = managed_find(manager, terms.name, &instance);
	if (managed != NULL && instance == NULL)
		replace_terms(managed, &terms);
	else
		managed = add(manager, &terms, false, &error);
	if (managed != NULL)
		managed->declared = true;
	else
		sink_log(&manager->sink, "cannot manage a process: %s", error.text);
}

void managed_on_committed(struct manager *manager)
{
	const struct buffer *plan = &manager->current->settings.block;
	struct buffer block = {0};
	size_t offset = 0;

	LIST_EACH(old, &manager->managed)
	LIST_ENTRY(old, struct managed, node)->declared = false;
	while (managed_terms_next((struct slice){plan->data, plan->size}, &offset, &block) == 1) {
		take_up(manager, (struct slice){block.data, block.size});
		buffer_free(&block);
	}
	buffer_free(&block);
	LIST_EACH(node, &manager->managed)
	{
		struct managed *managed = LIST_ENTRY(node, struct managed, node);

		if (managed->declared || managed->dynamic)
			renew(managed);
		for (uint32_t i = 0; !managed->declared && !managed->dynamic && i < managed->count;
			i++)
			remove_instance(managed->instances[i]);
	}
	managed_reconcile(manager);
}
