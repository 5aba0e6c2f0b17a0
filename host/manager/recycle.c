/* Replacing workers that are used up: see recycle.h. Runs in the manager. */
#include "manager/recycle.h"

#include "manager/manager.h"

void recycle_on_used_up(struct manager *manager, struct child *child, const char *why, size_t size)
{
	char label[SINK_LABEL_SIZE];
	struct slot *slot = &manager->slots[child->slot];

	if (slot->serving != child || manager_stopping(manager))
		return; /* it is on its way out already */
	child_label(child, label);
	sink_log(&manager->sink, "%s pid %d is used up: %.*s", label, (int)child->pid, (int)size,
		why);
	slot->used_up = true;
	recycle_go_on(manager);
}

/* Whether a slot is served by nobody, or by a worker whose successor is on its way. */
static bool is_under_way(struct manager *manager)
{
	for (uint32_t i = 0; i < manager->workers; i++) {
		const struct slot *slot = &manager->slots[i];

		if (slot->serving == NULL || (slot->used_up && slot->replace))
			return true;
	}
	return false;
}

void recycle_go_on(struct manager *manager)
{
	if (manager_stopping(manager) || is_under_way(manager))
		return;
	for (uint32_t i = 0; i < manager->workers; i++) {
		struct slot *slot = &manager->slots[i];

		if (slot->used_up && slot->serving != NULL) {
			slot_on_leaving(slot, slot->serving);
			return;
		}
	}
}
