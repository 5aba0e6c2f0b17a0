/* Generations. Owned by the manager; freed when their last process is gone and replaced. */
#include "manager/generation.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "manager/manager.h"
#include "wire/record.h"

/* Until a plan says otherwise; the command line's words on it are in the settings it was given. */
#define START_TIMEOUT_DEFAULT    30000 /* ms */
#define GRACEFUL_TIMEOUT_DEFAULT 15000 /* ms */

static uint64_t setting_or(struct manager *manager, const char *key, uint64_t otherwise)
{
	struct slice block = {.data = manager->given.data, .size = manager->given.size};
	struct error ignored;
	uint64_t number;

	return record_number(block, key, 1, UINT32_MAX, &number, &ignored) == 0 ? number
										: otherwise;
}

struct generation *generation_start(struct manager *manager, struct error *error)
{
	struct generation *generation = calloc(1, sizeof *generation);

	if (generation == NULL) {
		(void)error_set(error, ENOMEM, "no memory for another generation");
		return NULL;
	}
	generation->manager = manager;
	generation->number = manager->last_generation + 1;
	generation->settings.start_timeout =
		setting_or(manager, "start_timeout", START_TIMEOUT_DEFAULT);
	generation->settings.graceful_timeout =
		setting_or(manager, "graceful_timeout", GRACEFUL_TIMEOUT_DEFAULT);
	generation->zygote = child_exec_zygote(manager, generation, error);
	if (generation->zygote == NULL) {
		free(generation);
		return NULL;
	}
	manager->last_generation++;
	list_append(&manager->generations, &generation->node);
	return generation;
}

struct generation *generation_adopt(
	struct manager *manager, uint32_t number, int plan, struct error *error)
{
	struct generation *generation = calloc(1, sizeof *generation);
	struct buffer block = {0};
	int result = -1;

	if (generation == NULL) {
		(void)error_set(error, ENOMEM, "no memory for a generation");
		return NULL;
	}
	*generation = (struct generation){.manager = manager, .number = number, .announced = true};
	if (record_load(&block, plan, error) == 0)
		result = generation_take_plan(
			generation, (struct slice){block.data, block.size}, error);
	buffer_free(&block);
	if (result != 0) {
		free(generation);
		return NULL;
	}
	list_append(&manager->generations, &generation->node);
	return generation;
}

int generation_take_plan(struct generation *generation, struct slice plan, struct error *error)
{
	if (generation->planned)
		return error_set(error, EPROTO, "a second plan");
	if (manager_settings_read(&generation->settings, plan, error) != 0)
		return -1;
	generation->planned = true;
	return 0;
}

static bool needed(const struct generation *generation)
{
	const struct manager *manager = generation->manager;

	return generation == manager->current || generation == manager->reload.candidate;
}

static void free_if_over(struct generation *generation)
{
	if (generation->children != 0 || needed(generation))
		return;
	list_remove(&generation->node);
	manager_settings_free(&generation->settings);
	free(generation);
}

void generation_release(struct generation *generation)
{
	generation->children--;
	free_if_over(generation);
}

/* Records whose process is gone are counted until libuv lets go of them; so look at the list. */
static bool has_workers(const struct generation *generation)
{
	LIST_EACH(node, &generation->manager->children)
	{
		const struct child *child = LIST_ENTRY(node, struct child, node);

		/* A command is of no generation's code. */
		if (child->generation == generation && child != generation->zygote &&
			child->role != WIRE_ROLE_SHEPHERD)
			return true;
	}
	return false;
}

void generation_give_up(struct generation *generation)
{
	LIST_EACH(node, &generation->manager->children)
	{
		struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->generation == generation &&
			(child != generation->zygote || child->state != CHILD_READY))
			child_kill(child, CHILD_FATE_KILLED);
	}
}

void generation_sweep(struct manager *manager)
{
	LIST_EACH(node, &manager->generations)
	{
		struct generation *generation = LIST_ENTRY(node, struct generation, node);

		if ((needed(generation) && !manager_stopping(manager)) || has_workers(generation))
			continue;
		if (generation->zygote != NULL)
			child_drain(generation->zygote, WIRE_DRAIN_SHUTDOWN, -1);
		else
			free_if_over(generation);
	}
}
