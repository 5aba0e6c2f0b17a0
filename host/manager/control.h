/*
 * Control: what children ask of the manager, and the answers.
 *
 * A request (WIRE_REQUEST) is begun at once and answered once, when what it asked for has happened
 * or has failed; who asked and is gone gets nothing. Two askers that cannot wait are answered as
 * soon as it has begun: a zygote, which is to fork for it, and a worker that is not ready itself.
 * One that is about to be drained is answered before it is.
 */
#ifndef PERIGEE_MANAGER_CONTROL_H
#define PERIGEE_MANAGER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"

struct child;
struct managed_instance;
struct manager;
struct slot;

#define CONTROL_REQUESTS_MAX 256 /* that wait for their answer; more are refused as "busy" */

struct control {
	struct list requests; /* struct control_request that wait, oldest first */
	struct list answered; /* those to be freed */
	unsigned waiting;     /* in `requests` */
	unsigned beginning;   /* control_on_request is at work: nothing is freed */
};

void control_init(struct control *control);

/* `asker` asks, with its own number `id` for it. */
void control_on_request(struct child *asker, int32_t id, struct slice block);

/* A load has failed, with the words that tell why; or was good, and is what serves from now on; or
 * every slot is served by it. */
void control_on_load_failed(struct manager *manager, const char *text, size_t size);
void control_on_load_committed(struct manager *manager);
void control_on_all_serve(struct manager *manager);

/* A slot is served by another worker than before, or not wanted any more; or its new worker could
 * not start. */
void control_on_slot_turned(struct slot *slot);
void control_on_slot_failed(struct slot *slot, const char *why);

/* A managed process is ready; or could not start; or is over, and nothing else is to run in its
 * place; or that is no more. */
void control_on_instance_ready(struct managed_instance *instance);
void control_on_instance_failed(struct managed_instance *instance, const char *why);
void control_on_instance_ended(struct managed_instance *instance);

/* Another program takes this one's place next; or does not, and why. */
void control_on_upgrade(struct manager *manager, const char *why);

/* Whether nobody waits for anything but that. */
bool control_is_quiet(const struct manager *manager);

/* How many workers there are to be has changed. */
void control_on_scaled(struct manager *manager);

/* Whether `slot` waits with its replacement: others go first. */
bool control_defers(const struct slot *slot);

/* `child` is told to drain next; is gone; everything stops. */
void control_before_drain(struct child *child);
void control_on_gone(const struct child *child);
void control_on_stopping(struct manager *manager);

#endif
