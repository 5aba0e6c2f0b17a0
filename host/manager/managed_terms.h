/*
 * The terms of a managed process: what an app declared of it, read from a record block.
 *
 * Lua has resolved and checked them (lua/perigee/managed.lua); what arrives here is checked again
 * all the same, because it comes from a process that runs user code.
 */
#ifndef PERIGEE_MANAGER_MANAGED_TERMS_H
#define PERIGEE_MANAGER_MANAGED_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/slice.h"

#define MANAGED_NAME_MAX     31          /* bytes; a label of the log has to have room for it */
#define MANAGED_WORKERS_MAX  64          /* processes of one name */
#define MANAGED_RESTARTS_MAX 100         /* that are counted */
#define MANAGED_TERMS_MAX    (64 * 1024) /* bytes of a declaration; an order to fork adds to it */

enum managed_policy { MANAGED_RESTART_NEVER, MANAGED_RESTART_ON_FAILURE, MANAGED_RESTART_ALWAYS };

struct managed_terms {
	struct buffer block;  /* the declaration; every string below points into it */
	const char *name;     /* of [A-Za-z0-9_.-] */
	const char *function; /* what its zygote knows it by; NULL: it is a command */
	uint32_t workers;     /* processes of it, 1 to MANAGED_WORKERS_MAX */
	bool transient;       /* goes with the workers: restarts and reloads are for it too */
	bool restartable;     /* may be restarted by name */
	bool tracked;         /* its rows stay when it is over */
	bool auto_start;
	bool notify; /* it says itself when it is ready */
	enum managed_policy policy;
	uint32_t max_restarts;  /* of its own accord, within `within`; then it is given up */
	uint64_t within;        /* ms */
	uint64_t start_timeout; /* ms until it is ready; 0: the setting's */
	uint64_t stop_timeout;  /* ms from the word to stop to SIGKILL; 0: graceful_timeout */
	int stop_signal;        /* a command's */
	const char *listen;     /* address at which it serves clients, as in listen.h; or NULL */
	bool is_secure;         /* what comes there is TLS */
};

/* Reads a block, of which a copy is kept. Returns 0, or -1 with *error and *ret_terms untouched. */
int managed_terms_read(struct managed_terms *ret_terms, struct slice block, struct error *error);

void managed_terms_free(struct managed_terms *terms);

/*
 * Walks the declarations in a plan, where each begins with "manage" (its name) and has its terms
 * behind it as "manage.KEY". *offset is 0 at first. Returns 1 with the next one as a block of its
 * own in *block (freed by the caller), 0 at the end, or -1 when memory is out.
 */
int managed_terms_next(struct slice plan, size_t *offset, struct buffer *block);

#endif
