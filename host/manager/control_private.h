/* What the files of control share; nobody else includes it. */
#ifndef PERIGEE_MANAGER_CONTROL_PRIVATE_H
#define PERIGEE_MANAGER_CONTROL_PRIVATE_H

#include "manager/control.h"
#include "manager/manager.h"
#include "wire/record.h"

enum control_op {
	CONTROL_RELOAD,
	CONTROL_SCALE,
	CONTROL_TERMINATE,
	CONTROL_UPGRADE,
	CONTROL_RESTART, /* from here on: control_processes.c */
	CONTROL_STOP,
	CONTROL_MANAGE,
	CONTROL_READY
};

struct control_request {
	struct list node;    /* in control->requests, then in control->answered */
	struct child *asker; /* its end removes the request */
	int32_t id;
	enum control_op op;
	bool answered;
	uint32_t attempt; /* reload: answered by this load or a later one */
	bool committed;   /* reload: the load was good */
	uint32_t workers; /* scale: how many there are to be */

	/* Restart, stop, manage: those that are not there yet. */
	bool slots[MANAGER_WORKERS_MAX];
	struct managed_instance **instances; /* malloc'ed */
	size_t instance_count;
};

static inline struct manager *control_manager(const struct control_request *request)
{
	return request->asker->manager;
}

static inline struct control_request *control_at(struct list *node)
{
	return LIST_ENTRY(node, struct control_request, node);
}

/* Walks the requests that wait. */
#define CONTROL_EACH(node, manager) LIST_EACH(node, &(manager)->control.requests)

/* The answers; see control.c. A note may be NULL: there is nothing more to say. */
void control_answer(struct control_request *request, struct buffer *block);
void control_succeed(struct control_request *request, const char *note);
__attribute__((format(printf, 3, 4))) void control_fail(
	struct control_request *request, const char *code, const char *format, ...);

/* Frees what was answered, unless a request is being begun. */
void control_sweep(struct control *control);

/* Whether every slot that is wanted has a worker. */
bool control_all_served(const struct manager *manager);

void control_begin_restart(struct control_request *request, struct slice block);
void control_begin_stop(struct control_request *request, struct slice block);
void control_begin_manage(struct control_request *request, struct slice block);
void control_begin_ready(struct control_request *request, struct slice block);

#endif
