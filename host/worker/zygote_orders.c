/* The zygote's channel. Runs in the zygote. */
#include "worker/zygote_orders.h"

#include <stdlib.h>

#include "base/check.h"
#include "wire/role.h"

static bool receive(struct zygote_order *order)
{
	*order = (struct zygote_order){.count = FD_PASS_MAX};
	list_init(&order->node);
	return wire_receive(WIRE_FD_CONTROL, &order->message, &order->body, order->fds,
		       &order->count, 0) == 1;
}

static void keep(struct zygote_orders *orders, const struct zygote_order *order)
{
	struct zygote_order *kept = malloc(sizeof *kept);

	CHECK(kept != NULL);
	*kept = *order;
	list_append(&orders->kept, &kept->node);
}

/* Asks, and waits for the answer: the manager gives it at once, to this role (manager/control.h).
 */
static int on_request(void *context, int32_t id, struct slice block)
{
	struct zygote_orders *orders = context;
	struct wire_message message = {
		.type = WIRE_REQUEST, .role = WIRE_ROLE_ZYGOTE, .number = id};
	struct zygote_order order;

	if (wire_send(WIRE_FD_CONTROL, &message, block.data, block.size, NULL, 0, 0) != 0)
		return -1;
	while (receive(&order)) {
		if (order.message.type == WIRE_ANSWER && order.message.number == id) {
			script_answer(orders->script, id,
				(struct slice){order.body.data, order.body.size});
			buffer_free(&order.body);
			return 0;
		}
		keep(orders, &order);
	}
	buffer_free(&order.body);
	return -1;
}

void zygote_orders_open(struct zygote_orders *orders, struct script *script)
{
	orders->script = script;
	list_init(&orders->kept);
	script_set_request(script, on_request, orders);
}

bool zygote_orders_next(struct zygote_orders *orders, struct zygote_order *ret_order)
{
	struct zygote_order *kept;

	if (list_empty(&orders->kept))
		return receive(ret_order);
	kept = LIST_ENTRY(list_take_first(&orders->kept), struct zygote_order, node);
	*ret_order = *kept;
	free(kept);
	return true;
}

void zygote_orders_forget(struct zygote_orders *orders)
{
	struct zygote_order order;

	while (!list_empty(&orders->kept) && zygote_orders_next(orders, &order)) {
		for (size_t i = 0; i < order.count; i++)
			fd_close(&order.fds[i]);
		buffer_free(&order.body);
	}
}
