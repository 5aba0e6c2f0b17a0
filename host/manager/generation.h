/*
 * Generations: one loading of the application's code each, with its zygote, its settings and the
 * processes forked from it. A generation is never changed; a reload makes another one.
 */
#ifndef PERIGEE_MANAGER_GENERATION_H
#define PERIGEE_MANAGER_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "manager/settings.h"

struct child;
struct manager;

struct generation {
	struct list node; /* in manager->generations */
	struct manager *manager;
	uint32_t number;      /* 1, 2, 3 …; never reused */
	struct child *zygote; /* NULL once it is gone */
	bool planned;         /* its plan has come, so `settings` is the application's */
	bool announced;       /* its zygote was told that all slots are served */
	struct manager_settings settings; /* before the plan: the waiting times only */
	unsigned children;                /* records that point here, the zygote's included */
};

/* Execs the zygote of a new generation. NULL with *error when that failed. */
struct generation *generation_start(struct manager *manager, struct error *error);

/*
 * The generation that serves already, when the manager becomes another program; `plan` is a memfd,
 * which stays the caller's. Its children are adopted next. NULL with *error.
 */
struct generation *generation_adopt(
	struct manager *manager, uint32_t number, int plan, struct error *error);

/* Its zygote has sent `plan`. Returns 0, or -1 with *error when it makes no sense. */
int generation_take_plan(struct generation *generation, struct slice plan, struct error *error);

/* A child record of it is freed. */
void generation_release(struct generation *generation);

/* It is not to be served by: kills its processes, but not a zygote that has run main_process_start,
 * which the next sweep ends with main_process_stop. */
void generation_give_up(struct generation *generation);

/* Ends zygotes of generations that nobody needs: not current, not being loaded, no worker left. */
void generation_sweep(struct manager *manager);

#endif
