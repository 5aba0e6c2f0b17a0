/* Doors: see managed_door.h. Runs in the manager. */
#include "manager/managed_door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/manager.h"

void managed_door_close(struct managed *managed)
{
	if (managed->door != NULL)
		listen_close(managed->door);
	free(managed->door);
	free(managed->door_address);
	managed->door = NULL;
	managed->door_address = NULL;
}

int managed_door_open(struct managed *managed, struct error *error)
{
	struct manager *manager = managed->manager;
	const char *address = managed->terms.listen;

	if (address != NULL && managed->door_address != NULL &&
		strcmp(address, managed->door_address) == 0)
		return 0;
	managed_door_close(managed);
	if (address == NULL)
		return 0;
	managed->door = calloc(1, sizeof *managed->door);
	managed->door_address = strdup(address);
	if (managed->door == NULL || managed->door_address == NULL) {
		managed_door_close(managed);
		return error_set(error, ENOMEM, "no memory for a socket");
	}
	if (listen_open_one(managed->door, address, managed->terms.is_secure, &manager->identity,
		    error) != 0) {
		managed_door_close(managed);
		return -1;
	}
	sink_log(&manager->sink, "%s is at %s", managed->terms.name,
		managed->door->addresses[0].url);
	return 0;
}

void managed_door_close_all(struct manager *manager)
{
	LIST_EACH(node, &manager->managed)
	managed_door_close(LIST_ENTRY(node, struct managed, node));
}
