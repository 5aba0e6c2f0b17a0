/* What must always be true of a shared queue in memory, for queue_spec.lua. */
#include <stdint.h>

#include "shm/queue_store.h"

const char *queue_probe(struct shm_queue *queue);

static uint64_t cells_in(struct shm_queue *queue, uint64_t number, uint64_t *ret_count)
{
	uint64_t cells = 0;

	for (*ret_count = 0; number != 0 && *ret_count <= queue->capacity; (*ret_count)++) {
		const struct shm_cell *message = shm_store_cell(queue, number);

		cells += shm_store_cells(message->size);
		number = message->after;
	}
	return cells;
}

static const char *check_list(struct shm_queue *queue, uint64_t *cells)
{
	uint64_t count;
	uint64_t serial = 0;

	*cells += cells_in(queue, queue->first, &count);
	if (count != queue->listed)
		return "the list has another length than it says";
	for (uint64_t number = queue->first; number != 0;) {
		const struct shm_cell *message = shm_store_cell(queue, number);

		if (message->serial <= serial || message->serial > queue->put)
			return "the list is not in order";
		serial = message->serial;
		if (message->after == 0 && number != queue->last)
			return "the list's last is another";
		number = message->after;
	}
	return queue->first == 0 && queue->last != 0 ? "an empty list has a last" : NULL;
}

static const char *check_heap(struct shm_queue *queue, uint64_t *cells)
{
	for (uint64_t i = 0; i < queue->again; i++) {
		const struct shm_cell *message = shm_store_cell(queue, queue->heap[i]);

		*cells += shm_store_cells(message->size);
		if (i > 0 &&
			shm_store_cell(queue, queue->heap[(i - 1) / 2])->serial >= message->serial)
			return "the heap is none";
		if (queue->first != 0 &&
			shm_store_cell(queue, queue->first)->serial <= message->serial)
			return "one that came back is younger than one never taken";
		if (message->owner != 0)
			return "one that came back has an owner";
	}
	return NULL;
}

static const char *check_held(struct shm_queue *queue, uint64_t *cells)
{
	uint64_t taken = 0;

	for (unsigned i = 0; i < SHM_MEMBERS_MAX; i++) {
		const struct shm_queue_holder *holder = &queue->holders[i];
		uint64_t count;

		if (holder->count == 0 && holder->first == 0) {
			if ((queue->holding[i / 64] >> i % 64 & 1) != 0)
				return "one who holds nothing is marked";
			continue;
		}
		*cells += cells_in(queue, holder->first, &count);
		if (count != holder->count || (queue->holding[i / 64] >> i % 64 & 1) == 0)
			return "a holder has another count, or no mark";
		taken += count;
		if (shm_store_cell(queue, holder->first)->owner != holder->member)
			return "a message has another owner than its holder";
	}
	return taken == queue->taken ? NULL : "the holders have another count together";
}

static const char *check_free(struct shm_queue *queue, uint64_t cells)
{
	uint64_t count = 0;

	for (uint64_t number = queue->free; number != 0 && count <= queue->cells; count++)
		number = shm_store_cell(queue, number)->next;
	if (count != queue->free_count)
		return "the free chain has another length than it says";
	if (count + cells != queue->fresh)
		return "cells are lost, or belong to two";
	return queue->put == queue->done + queue->listed + queue->again + queue->taken
		       ? NULL
		       : "messages are lost";
}

/* NULL, or what is wrong. */
const char *queue_probe(struct shm_queue *queue)
{
	const char *problem;
	uint64_t cells = 0;

	shm_guard_enter(&queue->guard, "probe.queue");
	problem = check_list(queue, &cells);
	if (problem == NULL)
		problem = check_heap(queue, &cells);
	if (problem == NULL)
		problem = check_held(queue, &cells);
	if (problem == NULL)
		problem = check_free(queue, cells);
	shm_guard_leave(&queue->guard);
	return problem;
}
