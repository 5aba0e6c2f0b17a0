/*
 * What the manager says to the zygote, in order; and the zygote's own questions in between.
 *
 * The zygote reads its channel when it has nothing else to do. A hook of the main process may ask
 * the manager something, whose answer comes at once: what the manager says before that answer is
 * kept, and obeyed when the hook is over.
 */
#ifndef PERIGEE_WORKER_ZYGOTE_ORDERS_H
#define PERIGEE_WORKER_ZYGOTE_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/slice.h"
#include "script/script.h"
#include "wire/message.h"

struct zygote_order {
	struct list node; /* while it is kept */
	struct wire_message message;
	struct buffer body;
	int fds[FD_PASS_MAX];
	size_t count; /* of fds */
};

struct zygote_orders {
	struct script *script;
	struct list kept; /* struct zygote_order, malloc'ed, oldest first */
};

/* From now on Lua's requests go to the manager. */
void zygote_orders_open(struct zygote_orders *orders, struct script *script);

/* Waits for the next one, whose body and descriptors are the caller's. False: the manager is gone.
 */
bool zygote_orders_next(struct zygote_orders *orders, struct zygote_order *ret_order);

/* In a forked child: closes what is kept, which was not meant for it. */
void zygote_orders_forget(struct zygote_orders *orders);

#endif
