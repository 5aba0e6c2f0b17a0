/*
 * Shared queues: making, putting and taking; see queue_store.h for how they lie in memory. Runs in
 * every process that runs Lua.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "shm/last_error.h"
#include "shm/queue_held.h"
#include "shm/queue_store.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/queue_abi.h"
#pragma GCC visibility pop

/* What is done before the guard is let go of: some tens of microseconds' worth. */
#define PIECE_MESSAGES 128
#define PIECE_BYTES    (64u << 10)

_Static_assert(sizeof((struct shm_queue_batch){0}.messages) ==
		       PIECE_MESSAGES * sizeof(struct shm_queue_message),
	"a batch is what is taken in one piece");

static int check_shape(const char *name, const struct shm_queue_shape *shape, struct error *error)
{
	if (shape->capacity < 1 || shape->capacity > SHM_QUEUE_CAPACITY_MOST)
		return error_set(error, EINVAL,
			"shared queue \"%.80s\": capacity must be 1 to %u messages, not %llu", name,
			SHM_QUEUE_CAPACITY_MOST, (unsigned long long)shape->capacity);
	if (shape->message_limit < 1 || shape->message_limit > SHM_QUEUE_MESSAGE_MOST)
		return error_set(error, EINVAL,
			"shared queue \"%.80s\": message_limit must be 1 to %u bytes, not %llu",
			name, SHM_QUEUE_MESSAGE_MOST, (unsigned long long)shape->message_limit);
	if (shape->size / SHM_CELL < shm_store_cells(shape->message_limit) ||
		shape->size > (uint64_t)1 << 40)
		return error_set(error, EINVAL,
			"shared queue \"%.80s\": a message of %llu bytes takes %llu, more than its "
			"size of %llu",
			name, (unsigned long long)shape->message_limit,
			(unsigned long long)shm_store_cells(shape->message_limit) * SHM_CELL,
			(unsigned long long)shape->size);
	return 0;
}

static void describe(const struct shm_queue_shape *shape, char text[SHM_SHAPE_MAX])
{
	(void)snprintf(text, SHM_SHAPE_MAX, "%llu messages of %llu bytes, %s, in %llu bytes",
		(unsigned long long)shape->capacity, (unsigned long long)shape->message_limit,
		shape->encoding != 0 ? "json" : "bytes", (unsigned long long)shape->size);
}

static struct shm_queue *make(
	const char *name, const struct shm_queue_shape *shape, struct error *error)
{
	char text[SHM_SHAPE_MAX];
	uint64_t cells_place;
	uint64_t cells = shape->size / SHM_CELL;
	struct shm_want want = {.name = name, .kind = "queue", .shape = text};
	struct shm_queue *queue;
	int is_new;

	describe(shape, text);
	want.size = shm_store_size(shape->capacity, cells, &cells_place);
	queue = shm_region_make(&want, &is_new, error);
	if (queue == NULL || !is_new)
		return queue;
	shm_guard_init(&queue->guard);
	queue->capacity = shape->capacity;
	queue->message_limit = shape->message_limit;
	queue->size = shape->size;
	queue->encoding = shape->encoding;
	queue->cells = cells;
	queue->cells_place = cells_place;
	shm_region_publish(name);
	return queue;
}

struct shm_queue *shm_queue_open(const char *name, const struct shm_queue_shape *shape, int create)
{
	struct error error;
	struct shm_queue *queue = NULL;
	char text[SHM_SHAPE_MAX];

	if (shape != NULL && check_shape(name, shape, &error) != 0) {
		(void)shm_fail(-1, &error);
		return NULL;
	}
	if (shape != NULL && create) {
		queue = make(name, shape, &error);
	} else {
		if (shape != NULL)
			describe(shape, text);
		queue = shm_region_find(name, "queue", shape != NULL ? text : NULL, NULL, &error);
	}
	if (queue == NULL)
		(void)shm_fail(-1, &error);
	return queue;
}

void shm_queue_shape(const struct shm_queue *queue, struct shm_queue_shape *shape)
{
	shape->capacity = queue->capacity;
	shape->message_limit = queue->message_limit;
	shape->size = queue->size;
	shape->encoding = queue->encoding;
}

static uint64_t messages_of(const struct shm_queue *queue)
{
	return queue->listed + queue->again + queue->taken;
}

/* How many of the messages are put in one piece: those there is a place for. *ret_cells of memory.
 */
static uint64_t fitting(
	const struct shm_queue *queue, const uint64_t *sizes, uint64_t count, uint64_t *ret_cells)
{
	uint64_t available = shm_store_available(queue);
	uint64_t places = queue->capacity - messages_of(queue);
	uint64_t bytes = 0;
	uint64_t cells = 0;
	uint64_t i;

	for (i = 0; i < count && i < places && i < PIECE_MESSAGES; i++) {
		uint64_t more = shm_store_cells(sizes[i]);

		if (cells + more > available || (i > 0 && bytes + sizes[i] > PIECE_BYTES))
			break;
		cells += more;
		bytes += sizes[i];
	}
	*ret_cells = cells;
	return i;
}

/* Writes messages into cells that nobody reaches yet, then makes them the end of the list. */
static void put_piece(struct shm_queue *queue, const char *const *texts, const uint64_t *sizes,
	uint64_t count, uint64_t cells)
{
	uint64_t cursor = shm_store_cursor(queue, cells);
	uint64_t first = 0;
	uint64_t last = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t number = shm_store_write(queue, &cursor, texts[i], sizes[i]);

		shm_store_cell(queue, number)->serial = queue->put + i + 1;
		if (last != 0)
			shm_store_cell(queue, last)->after = number;
		else
			first = number;
		last = number;
	}
	shm_store_took(queue, cursor, cells);
	if (queue->last != 0)
		shm_store_set(queue, &shm_store_cell(queue, queue->last)->after, first);
	else
		shm_store_set(queue, &queue->first, first);
	shm_store_set(queue, &queue->last, last);
	shm_store_set(queue, &queue->listed, queue->listed + count);
	shm_store_set(queue, &queue->put, queue->put + count);
}

/* One piece, under the guard once. *ret_done messages were put, none unless it returns OK. */
static int put_some(struct shm_queue *queue, const char *const *texts, const uint64_t *sizes,
	uint64_t count, uint64_t *ret_done)
{
	uint64_t cells;
	uint64_t done = 0;
	bool closed;
	bool more;

	shm_store_prepare(queue, sizes[0]);
	shm_guard_enter(&queue->guard, "queue.put");
	closed = queue->closed != 0;
	if (!closed)
		done = fitting(queue, sizes, count, &cells);
	if (done > 0)
		put_piece(queue, texts, sizes, done, cells);
	more = messages_of(queue) < queue->capacity && shm_store_available(queue) > 0;
	shm_guard_leave(&queue->guard);
	*ret_done = done;
	if (done == 0)
		return closed ? SHM_QUEUE_CLOSED : SHM_QUEUE_FULL;
	shm_waiters_wake_one(&queue->getters);
	if (more)
		shm_waiters_wake_one(&queue->putters);
	return SHM_QUEUE_OK;
}

int shm_queue_put(struct shm_queue *queue, const char *text, uint64_t size)
{
	uint64_t done;

	if (size > queue->message_limit)
		return SHM_QUEUE_TOO_BIG;
	return put_some(queue, &text, &size, 1, &done);
}

int shm_queue_put_many(struct shm_queue *queue, const char *const *texts, const uint64_t *sizes,
	uint64_t count, uint64_t *ret_done)
{
	uint64_t small = 0; /* messages before the first that is too big */
	int result = SHM_QUEUE_OK;

	while (small < count && sizes[small] <= queue->message_limit)
		small++;
	*ret_done = 0;
	while (*ret_done < small && result == SHM_QUEUE_OK) {
		uint64_t done;

		result = put_some(
			queue, texts + *ret_done, sizes + *ret_done, small - *ret_done, &done);
		*ret_done += done;
	}
	return result == SHM_QUEUE_OK && small < count ? SHM_QUEUE_TOO_BIG : result;
}

/* Notes a message in the batch and copies its text, if there is room: else false. */
static bool hand_out(
	struct shm_queue *queue, struct shm_queue_batch *batch, uint64_t *used, uint64_t number)
{
	const struct shm_cell *message = shm_store_cell(queue, number);

	if (message->size > batch->room - *used ||
		(batch->count > 0 && *used + message->size > PIECE_BYTES))
		return false;
	shm_store_read(queue, number, batch->text + *used);
	*used += message->size;
	batch->messages[batch->count++] = (struct shm_queue_message){.size = message->size,
		.id = number,
		.serial = message->serial,
		.deliveries = message->deliveries + 1};
	return true;
}

/* What is to be done with a message that was taken out of the order. */
static void dispose(struct shm_queue *queue, shm_member holder, uint64_t number)
{
	struct shm_store_freed freed = {0};

	if (holder != 0) {
		shm_held_add(queue, holder, number);
		return;
	}
	shm_store_free(queue, &freed, number);
	shm_store_freed(queue, &freed);
	shm_store_set(queue, &queue->done, queue->done + 1);
}

/* Those that came back, which are the eldest; each is a change of its own. */
static void take_again(
	struct shm_queue *queue, struct shm_queue_batch *batch, uint64_t *used, shm_member holder)
{
	while (queue->again > 0 && batch->count < batch->most &&
		hand_out(queue, batch, used, queue->heap[0])) {
		dispose(queue, holder, shm_store_pop(queue));
		shm_guard_commit(&queue->guard);
	}
}

static void unlist(struct shm_queue *queue, uint64_t next, uint64_t count)
{
	shm_store_set(queue, &queue->first, next);
	if (next == 0)
		shm_store_set(queue, &queue->last, 0);
	shm_store_set(queue, &queue->listed, queue->listed - count);
}

/* From the list, for good: all of them are one change. */
static void take_listed(struct shm_queue *queue, struct shm_queue_batch *batch, uint64_t *used)
{
	struct shm_store_freed freed = {0};
	uint64_t number = queue->first;
	uint64_t count = 0;

	while (number != 0 && batch->count < batch->most && hand_out(queue, batch, used, number)) {
		shm_store_free(queue, &freed, number);
		number = shm_store_cell(queue, number)->after;
		count++;
	}
	if (count == 0)
		return;
	unlist(queue, number, count);
	shm_store_freed(queue, &freed);
	shm_store_set(queue, &queue->done, queue->done + count);
}

/* From the list, to be acknowledged. */
static void hold_listed(
	struct shm_queue *queue, struct shm_queue_batch *batch, uint64_t *used, shm_member holder)
{
	while (queue->first != 0 && batch->count < batch->most &&
		hand_out(queue, batch, used, queue->first)) {
		uint64_t number = queue->first;

		unlist(queue, shm_store_cell(queue, number)->after, 1);
		shm_held_add(queue, holder, number);
		shm_guard_commit(&queue->guard);
	}
}

static int why_none(const struct shm_queue *queue, shm_member self)
{
	if (queue->closed != 0 && shm_held_by_others(queue, self) == 0)
		return SHM_QUEUE_CLOSED;
	return SHM_QUEUE_EMPTY;
}

/* One try. `self` is this process when it is to hold what it takes, or when that matters. */
static int take_some(struct shm_queue *queue, struct shm_queue_batch *batch, shm_member self)
{
	shm_member holder = batch->held != 0 ? self : 0;
	uint64_t used = 0;
	int result;
	bool more;

	batch->count = 0;
	shm_guard_enter(&queue->guard, "queue.take");
	if (holder == 0 || shm_held_room(queue, holder)) {
		take_again(queue, batch, &used, holder);
		if (queue->again == 0 && holder != 0)
			hold_listed(queue, batch, &used, holder);
		else if (queue->again == 0)
			take_listed(queue, batch, &used);
	}
	more = queue->listed + queue->again > 0;
	result = batch->count > 0 ? SHM_QUEUE_OK : why_none(queue, self);
	shm_guard_leave(&queue->guard);
	if (result != SHM_QUEUE_OK)
		return result;
	if (more)
		shm_waiters_wake_one(&queue->getters);
	if (holder == 0)
		shm_waiters_wake_one(&queue->putters);
	return result;
}

int shm_queue_take(struct shm_queue *queue, struct shm_queue_batch *batch)
{
	struct error error;
	shm_member self = 0;
	int result;

	if (batch->most < 1 || batch->most > PIECE_MESSAGES || batch->room < queue->message_limit)
		return shm_fail(error_set(&error, EINVAL, "a batch without room"), &error);
	if (shm_held_due(queue))
		(void)shm_held_reclaim(queue);
	do {
		if (self == 0 && (batch->held != 0 ||
					 __atomic_load_n(&queue->taken, __ATOMIC_RELAXED) != 0)) {
			self = shm_member_self(&error);
			if (self == 0)
				return shm_fail(SHM_QUEUE_FAILED, &error);
		}
		result = take_some(queue, batch, self);
	} while (result == SHM_QUEUE_EMPTY && shm_held_reclaim(queue));
	return result;
}

void shm_queue_close(struct shm_queue *queue)
{
	shm_guard_enter(&queue->guard, "queue.close");
	shm_store_set(queue, &queue->closed, 1);
	shm_guard_leave(&queue->guard);
	shm_waiters_wake_all(&queue->getters);
	shm_waiters_wake_all(&queue->putters);
}

uint64_t shm_queue_size(struct shm_queue *queue)
{
	uint64_t sequence;
	uint64_t size;

	if (shm_guard_look(&queue->guard, &sequence)) {
		size = __atomic_load_n(&queue->listed, __ATOMIC_RELAXED) +
		       __atomic_load_n(&queue->again, __ATOMIC_RELAXED);
		if (shm_guard_seen(&queue->guard, sequence))
			return size;
	}
	shm_guard_enter(&queue->guard, "queue.size");
	size = queue->listed + queue->again;
	shm_guard_leave(&queue->guard);
	return size;
}

void shm_queue_stat(struct shm_queue *queue, struct shm_queue_stat *stat)
{
	shm_guard_enter(&queue->guard, "queue.stat");
	*stat = (struct shm_queue_stat){
		.ready = queue->listed + queue->again,
		.taken = queue->taken,
		.put = queue->put,
		.done = queue->done,
		.returned = queue->returned,
		.used = (queue->fresh - queue->free_count) * SHM_CELL,
		.size = queue->cells * SHM_CELL,
		.closed = queue->closed,
		.undone = queue->guard.undone,
		.getters = shm_waiters_count(&queue->getters),
		.putters = shm_waiters_count(&queue->putters),
	};
	shm_guard_leave(&queue->guard);
}

struct shm_waiters *shm_queue_getters(struct shm_queue *queue)
{
	return &queue->getters;
}

struct shm_waiters *shm_queue_putters(struct shm_queue *queue)
{
	return &queue->putters;
}
