/* Worker slots. Owned by the manager. */
#include "manager/slot.h"

#include <errno.h>

#include "base/clock.h"
#include "base/fd.h"
#include "manager/manager.h"

/* A worker that lived shorter than this many restart_delay_min died young. */
#define YOUNG_FACTOR 5

void slot_init(struct slot *slot, struct manager *manager, uint32_t index)
{
	*slot = (struct slot){.manager = manager, .index = index};
	(void)uv_timer_init(&manager->loop, &slot->delayed);
	slot->delayed.data = slot;
	place_init(&slot->place, manager, "worker", true, "worker-%u", index);
}

static bool wanted(const struct slot *slot)
{
	const struct manager *manager = slot->manager;

	return slot->index < manager->workers && !manager_stopping(manager);
}

/* --- heirs ------------------------------------------------------------------------------------ */

/* The slot's own successor first, else whoever serves. */
static struct child *choose_heir(struct manager *manager, const struct child *from)
{
	if (manager_stopping(manager))
		return NULL;
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++) {
		const struct slot *slot = &manager->slots[(from->slot + i) % MANAGER_WORKERS_MAX];

		if (slot->serving != NULL && slot->serving != from && wanted(slot))
			return slot->serving;
	}
	return NULL;
}

/* A channel from `from` to its heir. Returns the sender's end, or -1 when there is no heir. */
static int connect_heir(struct manager *manager, const struct child *from)
{
	struct child *heir = choose_heir(manager, from);
	int pair[2];

	if (heir == NULL || fd_packet_pair(pair) != 0)
		return -1;
	if (child_send(heir, WIRE_ADOPT, 0, &pair[1], 1) != 0)
		fd_close(&pair[0]);
	fd_close(&pair[1]);
	return pair[0];
}

void slot_find_heir(struct manager *manager, struct child *child)
{
	int heir = connect_heir(manager, child);

	if (child_send(child, WIRE_HEIR, 0, &heir, heir >= 0) != 0)
		child_kill(child, CHILD_FATE_KILLED);
	fd_close(&heir);
}

/* --- steps ------------------------------------------------------------------------------------ */

static void drain(struct slot *slot, struct child *child)
{
	struct manager *manager = slot->manager;
	enum wire_drain how = WIRE_DRAIN_REPLACED;

	if (manager_stopping(manager))
		how = WIRE_DRAIN_SHUTDOWN;
	else if (slot->index >= manager->workers)
		how = WIRE_DRAIN_RETIRED;
	control_before_drain(child);
	child_drain(child, how, connect_heir(manager, child));
}

static void on_delayed(uv_timer_t *timer)
{
	struct slot *slot = timer->data;

	slot->waiting = false;
	slot_reconcile(slot);
}

static void wait_before_start(struct slot *slot)
{
	const struct manager_settings *settings = &slot->manager->current->settings;
	uint64_t delay = slot->delay;

	slot->delay = delay == 0 ? settings->restart_delay_min : delay * 2;
	if (slot->delay > settings->restart_delay_max)
		slot->delay = settings->restart_delay_max;
	if (delay == 0)
		return;
	slot->waiting = true;
	(void)uv_timer_start(&slot->delayed, on_delayed, delay, 0);
}

/* Whether the worker that serves is being replaced is to be read in its state. */
static void show_succession(struct slot *slot)
{
	if (slot->serving == NULL || slot->serving->has_successor == (slot->next != NULL))
		return;
	slot->serving->has_successor = slot->next != NULL;
	place_show(slot->serving);
}

static void start(struct slot *slot, struct generation *generation)
{
	struct error error;

	slot->next = child_order_worker(slot->manager, generation, slot->index, &error);
	show_succession(slot);
	if (slot->next != NULL)
		return;
	sink_log(&slot->manager->sink, "worker %u gen %u failed to start: %s", slot->index,
		generation->number, error.text);
	slot->failed = true;
	slot->delay = slot->delay == 0 ? generation->settings.restart_delay_min : slot->delay;
	wait_before_start(slot);
	control_on_slot_failed(slot, error.text);
}

/* Whether a worker that served here is still on its way out. */
static bool has_leaver(const struct slot *slot)
{
	LIST_EACH(node, &slot->manager->children)
	{
		const struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->role == WIRE_ROLE_WORKER && child->slot == slot->index &&
			child != slot->serving && child != slot->next)
			return true;
	}
	return false;
}

static void reconcile_unwanted(struct slot *slot)
{
	if (slot->next != NULL)
		child_kill(slot->next, CHILD_FATE_KILLED);
	if (slot->serving != NULL)
		drain(slot, slot->serving);
	slot->serving = NULL;
	slot->used_up = false;
	slot_forget_failures(slot);
	slot_forget_restart(slot);
	place_close(&slot->place);
	control_on_slot_turned(slot);
}

/* --- restarts --------------------------------------------------------------------------------- */

void slot_restart(struct slot *slot, bool shutdown_first)
{
	slot_forget_failures(slot);
	slot->restart_wanted = slot->serving != NULL;
	slot->shutdown_first = shutdown_first;
}

void slot_forget_restart(struct slot *slot)
{
	slot->restart_wanted = false;
}

/* Whether fewer workers are on their way than restart_keep allows. */
static bool has_turn(const struct slot *slot)
{
	const struct manager *manager = slot->manager;
	uint32_t allowed = manager->workers * (100 - manager->current->settings.restart_keep) / 100;
	uint32_t turning = 0;

	for (uint32_t i = 0; i < manager->workers; i++) {
		const struct slot *other = &manager->slots[i];

		if (other != slot && !other->failed &&
			(other->serving == NULL || other->next != NULL))
			turning++;
	}
	return turning < (allowed == 0 ? 1 : allowed) && !control_defers(slot);
}

/* Whether `serving` is to be replaced now; `ret_first` tells whether it goes first. */
static bool outdated(const struct slot *slot, const struct generation *target, bool *ret_first)
{
	*ret_first = !target->settings.startup_first;
	if (slot->serving->generation != target)
		return !*ret_first || has_turn(slot);
	if (slot->replace)
		return true;
	if (slot->restart_wanted)
		*ret_first = slot->shutdown_first;
	return (slot->restart_wanted || slot->used_up) && has_turn(slot);
}

void slot_reconcile(struct slot *slot)
{
	struct generation *target = reload_target(&slot->manager->reload, slot);
	bool first;

	if (!wanted(slot)) {
		reconcile_unwanted(slot);
		return;
	}
	if (target == NULL || target->zygote == NULL || target->zygote->state != CHILD_READY)
		return;
	if (slot->next != NULL) {
		if (slot->next->generation != target)
			child_kill(slot->next, CHILD_FATE_KILLED);
		return;
	}
	if (slot->serving != NULL) {
		if (!outdated(slot, target, &first))
			return;
		if (first) {
			drain(slot, slot->serving);
			slot->serving = NULL;
			slot->replace = slot->restart_wanted = slot->used_up = false;
		}
		slot->leaver_first = first;
	}
	if ((slot->leaver_first || !target->settings.startup_first) && has_leaver(slot))
		return; /* its end brings us here again */
	if (!slot->waiting)
		start(slot, target);
}

/* --- events ----------------------------------------------------------------------------------- */

void slot_on_ready(struct slot *slot, struct child *child)
{
	struct child *old = slot->serving;

	if (slot->next != child) {
		child_kill(child, CHILD_FATE_KILLED); /* not wanted any more */
		return;
	}
	slot->next = NULL;
	slot->serving = child;
	if (child_send(child, WIRE_SERVE, 0, NULL, 0) != 0)
		child_kill(child, CHILD_FATE_KILLED);
	slot->replace = slot->restart_wanted = slot->leaver_first = slot->used_up = false;
	slot->failed = false;
	control_on_slot_turned(slot);
	if (old != NULL)
		drain(slot, old);
	if (wanted(slot) && slot->index >= slot->manager->listen.live)
		listen_set_live(&slot->manager->listen, slot->index + 1);
}

void slot_on_gone(struct slot *slot, struct child *child)
{
	const struct generation *current = slot->manager->current;
	const bool was_next = slot->next == child;
	uint64_t life = child->ready == 0 ? 0 : clock_now() - child->ready;
	char verdict[2 * ERROR_TEXT_MAX];

	if (!was_next && slot->serving != child)
		return; /* it was drained, and somebody else serves */
	if (was_next) {
		slot->next = NULL;
		show_succession(slot);
	} else {
		slot->serving = NULL;
		slot->replace = slot->restart_wanted = slot->used_up = false;
	}
	slot->failed = was_next && child->fate != CHILD_FATE_KILLED;
	if (child->fate == CHILD_FATE_KILLED || child->generation != current)
		return; /* nothing is known against the code that is next */
	if (life >= current->settings.restart_delay_min * YOUNG_FACTOR)
		slot->delay = 0;
	else if (slot->delay == 0)
		slot->delay = current->settings.restart_delay_min;
	if (slot->delay != 0)
		wait_before_start(slot);
	if (slot->failed) {
		child_verdict(child, verdict, sizeof verdict);
		control_on_slot_failed(slot, verdict);
	}
}

void slot_on_leaving(struct slot *slot, struct child *child)
{
	if (slot->serving != child)
		return; /* it is on its way out already */
	slot->replace = true;
	slot_reconcile(slot);
}

void slot_on_used_up(struct slot *slot, struct child *child, const char *why, size_t size)
{
	char label[SINK_LABEL_SIZE];

	if (slot->serving != child || !wanted(slot))
		return; /* it is on its way out already */
	child_label(child, label);
	sink_log(&slot->manager->sink, "%s pid %d is used up: %.*s", label, (int)child->pid,
		(int)size, why);
	slot->used_up = true;
	slot_reconcile(slot);
}

void slot_forget_failures(struct slot *slot)
{
	(void)uv_timer_stop(&slot->delayed);
	slot->waiting = false;
	slot->failed = false;
	slot->delay = 0;
}
