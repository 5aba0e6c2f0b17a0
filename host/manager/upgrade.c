/* The upgrade of the manager's own program. In the manager, and in the one that is asked. */
#include "manager/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "manager/manager.h"
#include "manager/spawn.h"
#include "manager/upgrade_state.h"

#define UPGRADE_QUIET  60000 /* ms in which there must be a quiet moment */
#define UPGRADE_ANSWER 10000 /* ms that the other program has to say whether it can */
#define UPGRADE_TURN                                                                               \
	20 /* ms in which the loop obeys the signals it had taken before they were held */

static bool slot_is_quiet(const struct slot *slot)
{
	const struct child *serving = slot->serving;

	return serving != NULL && serving->generation == slot->manager->current &&
	       serving->state == CHILD_READY && slot->next == NULL && !slot->replace &&
	       !slot->restart_wanted;
}

/* Whether nothing crosses but the current generation's zygote and one ready worker in each slot. */
static bool is_alone(const struct manager *manager)
{
	uint32_t children = 0;

	LIST_EACH(node, &manager->children)
	children++;
	return children == manager->workers + 1;
}

/* Whether nothing is under way with those. */
static bool is_quiet(const struct manager *manager)
{
	const struct generation *current = manager->current;

	if (manager->phase != MANAGER_SERVING || manager->reload.phase != RELOAD_NONE ||
		current->zygote == NULL || current->zygote->state != CHILD_READY ||
		!current->announced || !control_is_quiet(manager) || manager->guardian.pid == 0)
		return false;
	for (uint32_t i = 0; i < manager->workers; i++) {
		if (!slot_is_quiet(&manager->slots[i]))
			return false;
	}
	return true;
}

static void close_probe(struct upgrade *upgrade);

static void give_up(struct upgrade *upgrade, const char *why)
{
	sink_log(&upgrade->manager->sink, "upgrade refused: %s; nothing has changed", why);
	(void)uv_timer_stop(&upgrade->timer);
	close_probe(upgrade);
	if (upgrade->held)
		signals_release();
	if (upgrade->paused)
		managed_resume(upgrade->manager);
	upgrade->held = upgrade->wanted = upgrade->paused = upgrade->can = false;
	control_on_upgrade(upgrade->manager, why);
}

/* --- asking the other program ----------------------------------------------------------------- */

static void free_poll(uv_handle_t *handle)
{
	free(handle);
}

static void close_probe(struct upgrade *upgrade)
{
	if (upgrade->poll != NULL)
		uv_close((uv_handle_t *)upgrade->poll, free_poll);
	upgrade->poll = NULL;
	fd_close(&upgrade->answer);
	fd_close(&upgrade->state);
	fd_close(&upgrade->plan);
}

int upgrade_probe(int state)
{
	struct buffer block = {0};
	struct error error;
	int result = upgrade_state_read(&block, state, &error);

	(void)puts(result == 0 ? "ok" : error.text);
	(void)fflush(stdout);
	buffer_free(&block);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- becoming it ------------------------------------------------------------------------------ */

/* Returns only when it failed, with *error. */
static void become(struct manager *manager, struct error *error)
{
	struct buffer block = {0};
	int plan;
	int state = upgrade_state_write(manager, &plan, error);

	if (state < 0)
		return;
	if (upgrade_state_read(&block, state, error) == 0) {
		notify_pass_on(&manager->notify);
		sink_flush(&manager->sink);
		upgrade_state_keep(&block, true);
		(void)spawn_exec_again(manager->settings_fd, state, error);
		upgrade_state_keep(&block, false);
		notify_take_back();
	}
	buffer_free(&block);
	fd_close(&state);
	fd_close(&plan);
}

static void on_turn(uv_timer_t *timer)
{
	struct upgrade *upgrade = timer->data;
	struct error error;

	if (!is_quiet(upgrade->manager) || !is_alone(upgrade->manager)) {
		signals_release();
		upgrade->held = false; /* the tick tries again */
		return;
	}
	sink_log(&upgrade->manager->sink, "upgrade: this process becomes the new program");
	become(upgrade->manager, &error);
	give_up(upgrade, error.text);
}

static void on_late(uv_timer_t *timer)
{
	give_up(timer->data, "the new program does not say whether it can take over");
}

static void on_answer(uv_poll_t *handle, int status, int events)
{
	struct upgrade *upgrade = handle->data;
	char text[ERROR_TEXT_MAX];
	ssize_t size = read(upgrade->answer, text, sizeof text - 1);

	(void)status;
	(void)events;
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	text[size < 0 ? 0 : size] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "ok") != 0) {
		give_up(upgrade,
			text[0] != '\0' ? text : "the new program is none that can take over");
		return;
	}
	close_probe(upgrade);
	(void)uv_timer_stop(&upgrade->timer);
	upgrade->can = true;
	control_on_upgrade(upgrade->manager, NULL);
	managed_pause(upgrade->manager);
	upgrade->paused = true;
	upgrade_try(upgrade);
}

static void ask(struct upgrade *upgrade)
{
	struct manager *manager = upgrade->manager;
	const char *undeclared = managed_undeclared(manager);
	struct error error;

	if (undeclared != NULL) {
		(void)error_set(&error, EBUSY,
			"process '%s' was added at run time, and would be lost", undeclared);
		give_up(upgrade, error.text);
		return;
	}
	upgrade->state = upgrade_state_write(manager, &upgrade->plan, &error);
	if (upgrade->state >= 0)
		upgrade->answer = spawn_exec_probe(upgrade->state, &error);
	upgrade->poll = upgrade->answer < 0 ? NULL : malloc(sizeof *upgrade->poll);
	if (upgrade->poll == NULL) {
		give_up(upgrade, upgrade->answer < 0 ? error.text : "no memory");
		return;
	}
	CHECK(uv_poll_init(&manager->loop, upgrade->poll, upgrade->answer) == 0);
	upgrade->poll->data = upgrade;
	(void)uv_poll_start(upgrade->poll, UV_READABLE, on_answer);
	(void)uv_timer_start(&upgrade->timer, on_late, UPGRADE_ANSWER, 0);
}

/* What has been taken out of the kernel is obeyed by this program; the rest waits for the next. */
static void turn(struct upgrade *upgrade)
{
	signals_hold();
	upgrade->held = true;
	(void)uv_timer_start(&upgrade->timer, on_turn, UPGRADE_TURN, 0);
}

void upgrade_try(struct upgrade *upgrade)
{
	if (!upgrade->wanted || upgrade->poll != NULL || upgrade->held)
		return;
	if (manager_stopping(upgrade->manager))
		upgrade->wanted = false;
	else if (is_quiet(upgrade->manager) && !upgrade->can)
		ask(upgrade);
	else if (is_quiet(upgrade->manager) && is_alone(upgrade->manager))
		turn(upgrade);
	else if (clock_now() - upgrade->since > UPGRADE_QUIET)
		give_up(upgrade, "there was no quiet moment for it");
}

void upgrade_request(struct upgrade *upgrade, const char *why)
{
	struct manager *manager = upgrade->manager;

	if (manager_stopping(manager) || upgrade->wanted)
		return;
	sink_log(&manager->sink, "%s: upgrade%s", why,
		is_quiet(manager) ? "" : ", when what is under way is done");
	upgrade->wanted = true;
	upgrade->since = clock_now();
	upgrade_try(upgrade);
}

void upgrade_end(struct upgrade *upgrade)
{
	close_probe(upgrade);
	upgrade->wanted = false;
}

void upgrade_init(struct upgrade *upgrade, struct manager *manager)
{
	*upgrade = (struct upgrade){.manager = manager, .state = -1, .plan = -1, .answer = -1};
	CHECK(uv_timer_init(&manager->loop, &upgrade->timer) == 0);
	upgrade->timer.data = upgrade;
}
