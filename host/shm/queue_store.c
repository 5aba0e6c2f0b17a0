/* Shared queues in memory: see queue_store.h. Runs in every process that runs Lua. */
#include "shm/queue_store.h"

#include <string.h>

_Static_assert(sizeof(struct shm_cell) == SHM_CELL, "cells are counted in this size");
_Static_assert(offsetof(struct shm_cell, text) == SHM_CELL_HEADER, "the text follows the header");

#define MORE (SHM_CELL - sizeof(uint64_t)) /* bytes of text in a cell that is not the first */

uint64_t shm_store_size(uint64_t capacity, uint64_t cells, uint64_t *ret_cells_place)
{
	uint64_t heap_end = sizeof(struct shm_queue) + capacity * sizeof(uint64_t);

	*ret_cells_place = (heap_end + SHM_CELL - 1) / SHM_CELL * SHM_CELL;
	return *ret_cells_place + cells * SHM_CELL;
}

#define PAGE 4096 /* bytes that the kernel finds at once, at least */

void shm_store_prepare(struct shm_queue *queue, uint64_t size)
{
	uint64_t count = shm_store_cells(size);
	uint64_t from = __atomic_load_n(&queue->fresh, __ATOMIC_RELAXED);
	uint64_t free = __atomic_load_n(&queue->free_count, __ATOMIC_RELAXED);

	if (size < PAGE || free >= count || from >= queue->cells)
		return;
	count -= free;
	count = count < queue->cells - from ? count : queue->cells - from;
	for (uint64_t i = 0; i < count; i += PAGE / SHM_CELL)
		(void)__atomic_load_n(&shm_store_cell(queue, from + i + 1)->next, __ATOMIC_RELAXED);
}

/* How many of `count` cells have to be fresh. */
static uint64_t fresh_of(const struct shm_queue *queue, uint64_t count)
{
	return count > queue->free_count ? count - queue->free_count : 0;
}

/* Fresh cells come first, so that it is their links that lead on to the free chain: nobody reaches
 * those yet. */
uint64_t shm_store_cursor(struct shm_queue *queue, uint64_t count)
{
	uint64_t fresh = fresh_of(queue, count);

	for (uint64_t i = 1; i <= fresh; i++)
		shm_store_cell(queue, queue->fresh + i)->next =
			i < fresh ? queue->fresh + i + 1 : queue->free;
	return fresh > 0 ? queue->fresh + 1 : queue->free;
}

uint64_t shm_store_write(struct shm_queue *queue, uint64_t *cursor, const char *text, uint64_t size)
{
	uint64_t number = *cursor;
	struct shm_cell *first = shm_store_cell(queue, number);
	struct shm_cell *cell = first;
	uint64_t end = number;
	uint64_t written = size < sizeof first->text ? size : sizeof first->text;

	memcpy(first->text, text, written);
	while (written < size) {
		uint64_t part = size - written < MORE ? size - written : MORE;

		end = cell->next;
		cell = shm_store_cell(queue, end);
		memcpy(cell->more, text + written, part);
		written += part;
	}
	first->after = 0;
	first->before = 0;
	first->end = end;
	first->owner = 0;
	first->size = size;
	first->deliveries = 0;
	*cursor = cell->next;
	return number;
}

void shm_store_took(struct shm_queue *queue, uint64_t cursor, uint64_t count)
{
	uint64_t fresh = fresh_of(queue, count);

	shm_store_set(queue, &queue->free, cursor);
	shm_store_set(queue, &queue->free_count, queue->free_count - (count - fresh));
	shm_store_set(queue, &queue->fresh, queue->fresh + fresh);
}

void shm_store_read(struct shm_queue *queue, uint64_t number, char *text)
{
	const struct shm_cell *cell = shm_store_cell(queue, number);
	uint64_t size = cell->size;
	uint64_t done = size < sizeof cell->text ? size : sizeof cell->text;

	memcpy(text, cell->text, done);
	while (done < size) {
		uint64_t part = size - done < MORE ? size - done : MORE;

		cell = shm_store_cell(queue, cell->next);
		memcpy(text + done, cell->more, part);
		done += part;
	}
}

/* Writes only where a message in use has a word without meaning. */
void shm_store_free(struct shm_queue *queue, struct shm_store_freed *freed, uint64_t number)
{
	const struct shm_cell *message = shm_store_cell(queue, number);

	shm_store_cell(queue, message->end)->next = freed->first != 0 ? freed->first : queue->free;
	freed->first = number;
	freed->count += shm_store_cells(message->size);
}

void shm_store_freed(struct shm_queue *queue, const struct shm_store_freed *freed)
{
	if (freed->first == 0)
		return;
	shm_store_set(queue, &queue->free, freed->first);
	shm_store_set(queue, &queue->free_count, queue->free_count + freed->count);
}

static uint64_t serial_of(struct shm_queue *queue, uint64_t number)
{
	return shm_store_cell(queue, number)->serial;
}

void shm_store_push(struct shm_queue *queue, uint64_t number)
{
	uint64_t serial = serial_of(queue, number);
	uint64_t place = queue->again;

	CHECK(place < queue->capacity);
	shm_store_set(queue, &queue->again, place + 1);
	while (place > 0) {
		uint64_t parent = (place - 1) / 2;

		if (serial_of(queue, queue->heap[parent]) < serial)
			break;
		shm_store_set(queue, &queue->heap[place], queue->heap[parent]);
		place = parent;
	}
	shm_store_set(queue, &queue->heap[place], number);
}

/* The child of `place` that is older, or `count` when it has none. */
static uint64_t elder_child(struct shm_queue *queue, uint64_t place, uint64_t count)
{
	uint64_t child = place * 2 + 1;

	if (child >= count)
		return count;
	if (child + 1 < count &&
		serial_of(queue, queue->heap[child + 1]) < serial_of(queue, queue->heap[child]))
		return child + 1;
	return child;
}

uint64_t shm_store_pop(struct shm_queue *queue)
{
	uint64_t eldest = queue->heap[0];
	uint64_t count = queue->again - 1;
	uint64_t moved = queue->heap[count];
	uint64_t place = 0;
	uint64_t child;

	shm_store_set(queue, &queue->again, count);
	while ((child = elder_child(queue, place, count)) < count &&
		serial_of(queue, queue->heap[child]) < serial_of(queue, moved)) {
		shm_store_set(queue, &queue->heap[place], queue->heap[child]);
		place = child;
	}
	if (count > 0)
		shm_store_set(queue, &queue->heap[place], moved);
	return eldest;
}
