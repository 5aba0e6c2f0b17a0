/* Reading a plan into the manager's settings. No state. Runs in the manager. */
#include "manager/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/record.h"

#define HOUR_MS (3600ull * 1000)

static int read_number(struct slice plan, const char *key, uint64_t minimum, uint64_t maximum,
	uint64_t *ret_number, struct error *error)
{
	return record_number(plan, key, minimum, maximum, ret_number, error);
}

static int read_text(struct slice plan, const char *key, const char **ret_text, struct error *error)
{
	const char *value = record_find(plan, key);

	if (value == NULL)
		return error_set(error, ENOENT, "setting %s is missing", key);
	*ret_text = value;
	return 0;
}

static int read_binds(struct manager_settings *settings, struct slice plan, struct error *error)
{
	const char *key;
	const char *value;
	size_t offset = 0;
	size_t apps = 0;

	while (record_next(plan, &offset, &key, &value)) {
		unsigned long position =
			strcmp(key, "tls_bind") == 0 ? strtoul(value, NULL, 10) : 0;

		if (position >= 1 && position <= WIRE_BIND_MAX)
			settings->is_secure[position - 1] = true;
		if (strcmp(key, "bind_app") == 0 && apps < WIRE_BIND_MAX)
			settings->app_of[apps++] = (uint8_t)strtoul(value, NULL, 10);
		if (strcmp(key, "bind") != 0)
			continue;
		if (settings->bind_count == WIRE_BIND_MAX)
			return error_set(
				error, E2BIG, "more than %d addresses to bind", WIRE_BIND_MAX);
		settings->binds[settings->bind_count++] = value;
	}
	return 0;
}

/* Names and paths come in turn, one of each for every app. */
static int read_apps(struct manager_settings *settings, struct slice plan, struct error *error)
{
	const char *key;
	const char *value;
	size_t offset = 0;
	size_t names = 0;
	size_t paths = 0;

	while (record_next(plan, &offset, &key, &value)) {
		if (strcmp(key, "name") == 0 && names < WIRE_BIND_MAX)
			settings->apps[names++].name = value;
		if (strcmp(key, "app") == 0 && paths < WIRE_BIND_MAX)
			settings->apps[paths++].path = value;
	}
	settings->app_count = names;
	if (names == 0 || names != paths)
		return error_set(error, EPROTO, "the plan does not say which apps there are");
	for (size_t i = 0; i < settings->bind_count; i++) {
		if (settings->app_of[i] >= names)
			return error_set(error, EPROTO, "the plan has an address of no app");
	}
	return 0;
}

static int read_times(struct manager_settings *settings, struct slice plan, struct error *error)
{
	const struct {
		const char *key;
		uint64_t *to;
		uint64_t minimum;
	} times[] = {
		{"graceful_timeout", &settings->graceful_timeout, 0},
		{"worker_timeout", &settings->worker_timeout, 0},
		{"start_timeout", &settings->start_timeout, 1},
		{"restart_delay_min", &settings->restart_delay_min, 1},
		{"restart_delay_max", &settings->restart_delay_max, 1},
	};

	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		if (read_number(plan, times[i].key, times[i].minimum, 24 * HOUR_MS, times[i].to,
			    error) != 0)
			return -1;
	}
	return 0;
}

static int read_counts(struct manager_settings *settings, struct slice plan, struct error *error)
{
	uint64_t workers;
	uint64_t backlog;
	uint64_t reuse_port;
	uint64_t keep;

	if (read_number(plan, "workers", 1, MANAGER_WORKERS_MAX, &workers, error) != 0 ||
		read_number(plan, "backlog", 1, INT32_MAX, &backlog, error) != 0 ||
		read_number(plan, "reuse_port", 0, 1, &reuse_port, error) != 0 ||
		read_number(plan, "restart_keep", 0, 100, &keep, error) != 0)
		return -1;
	settings->workers = (uint32_t)workers;
	settings->backlog = (uint32_t)backlog;
	settings->reuse_port = reuse_port != 0;
	settings->restart_keep = (uint32_t)keep;
	return 0;
}

static int read_all(struct manager_settings *settings, struct error *error)
{
	struct slice plan = {.data = settings->block.data, .size = settings->block.size};
	const char *order = "";

	if (record_check(plan, error) != 0 || read_counts(settings, plan, error) != 0 ||
		read_times(settings, plan, error) != 0 || read_binds(settings, plan, error) != 0 ||
		read_apps(settings, plan, error) != 0 ||
		read_text(plan, "mode", &settings->mode, error) != 0 ||
		read_text(plan, "config", &settings->config, error) != 0 ||
		read_text(plan, "log_file", &settings->log_file, error) != 0 ||
		read_text(plan, "restart_order", &order, error) != 0)
		return -1;
	settings->startup_first = strcmp(order, "shutdown_first") != 0;
	return 0;
}

int manager_settings_read(
	struct manager_settings *ret_settings, struct slice plan, struct error *error)
{
	struct manager_settings settings = {0};

	if (plan.size == 0)
		return error_set(error, EPROTO, "the plan is empty");
	if (buffer_add(&settings.block, plan.data, plan.size) != 0)
		return error_set(error, ENOMEM, "no memory for the plan");
	if (read_all(&settings, error) != 0) {
		buffer_free(&settings.block);
		return -1;
	}
	*ret_settings = settings;
	return 0;
}

void manager_settings_free(struct manager_settings *settings)
{
	buffer_free(&settings->block);
	*settings = (struct manager_settings){0};
}

const struct manager_app *manager_settings_app_at(
	const struct manager_settings *settings, size_t address)
{
	return &settings->apps[settings->app_of[address]];
}
