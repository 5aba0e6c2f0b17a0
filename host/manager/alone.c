/*
 * Listening sockets for a process that has no manager (--single-process): bound by the same code,
 * each once. In that process; the manager itself has its listen_set.
 */
#include "manager/main.h"

#include "manager/listen.h"
#include "manager/settings.h"

static struct listen_set set;
static struct manager_settings settings;
static struct identity same; /* no change of user */

int manager_alone_listen(
	struct slice plan, int *ret_sockets, size_t *ret_count, struct error *error)
{
	int result;

	if (manager_settings_read(&settings, plan, error) != 0)
		return -1;
	settings.workers = 1;
	result = listen_open(&set, &settings, &same, error);
	if (result == 0)
		*ret_count = listen_sockets(&set, 0, ret_sockets);
	return result;
}

const char *manager_alone_url(size_t index)
{
	return set.addresses[index].url;
}

const char *manager_alone_app(size_t index)
{
	return manager_settings_app_at(&settings, index)->name;
}

void manager_alone_close(void)
{
	manager_settings_free(&settings);
	listen_close(&set);
}
