/* Accounts for every cell of a dict, for dict_spec.lua, while no other process uses it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/dict_abi.h"
#include "shm/dict_table.h"

const char *dict_probe(struct shm_dict *dict);

static struct {
	struct shm_dict *dict;
	unsigned char *seen; /* per cell */
	uint64_t cells;      /* seen so far */
	char problem[200];
} probe;

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list values;

	if (probe.problem[0] != '\0')
		return;
	va_start(values, format);
	(void)vsnprintf(probe.problem, sizeof probe.problem, format, values);
	va_end(values);
}

/* Sees `count` cells of a chain; returns the last. */
static uint32_t see(uint64_t first, uint64_t count, const char *what)
{
	uint64_t index = first, last = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (index == 0 || index > probe.dict->cells) {
			fail("%s: cell %llu of %llu is number %llu", what, (unsigned long long)i,
				(unsigned long long)count, (unsigned long long)index);
			return 0;
		}
		if (probe.seen[index]++ != 0) {
			fail("%s: cell %llu is used twice", what, (unsigned long long)index);
			return 0;
		}
		probe.cells++;
		last = index;
		index = dict_low(dict_cell(probe.dict, (uint32_t)index)->link);
	}
	return (uint32_t)last;
}

/* An entry with its elements; returns its cells. */
static uint64_t see_entry(uint32_t index)
{
	const struct dict_cell *cell = dict_cell(probe.dict, index);
	uint64_t cells = dict_entry_cells(cell), length = 0;
	uint32_t before = 0;

	(void)see(index, cells, "an entry");
	if (dict_type(cell->as.entry.chain) != SHM_DICT_LIST)
		return cells;
	for (uint32_t at = dict_low(cell->as.entry.number); at != 0 && probe.problem[0] == '\0';) {
		const struct dict_cell *element = dict_cell(probe.dict, at);
		uint32_t count = dict_cells_for(dict_size(element->as.element.state), 32);

		(void)see(at, count, "an element");
		if (dict_low(element->as.element.around) != before)
			fail("an element does not know the one before");
		cells += count;
		length++;
		before = at;
		at = dict_high(element->as.element.around);
	}
	if (before != dict_high(cell->as.entry.number) || length != cell->as.entry.length)
		fail("a list has another end or length than it says");
	return cells;
}

static void see_shard(struct dict_shard *shard)
{
	const struct dict_pool *pool = &probe.dict->pool;
	const struct dict_grant *grant = &pool->grants[shard - probe.dict->shard];
	uint64_t first = (uint64_t)(shard - probe.dict->shard) * probe.dict->buckets;
	uint64_t entries = 0, cells = 0;

	for (uint64_t i = 0; i < probe.dict->buckets; i++) {
		uint32_t index = dict_low(*dict_bucket(probe.dict, first + i));

		for (; index != 0 && probe.problem[0] == '\0'; entries++) {
			cells += see_entry(index);
			index = dict_low(dict_cell(probe.dict, index)->as.entry.chain);
		}
	}
	for (uint64_t index = shard->grave; index != 0 && probe.problem[0] == '\0';) {
		cells += see_entry((uint32_t)index);
		index = dict_low(dict_cell(probe.dict, (uint32_t)index)->as.entry.chain);
	}
	if (entries != dict_low(shard->load) || cells != dict_high(shard->load))
		fail("a shard of %llu entries in %llu cells says it has %u in %u",
			(unsigned long long)entries, (unsigned long long)cells,
			dict_low(shard->load), dict_high(shard->load));
	if (see(dict_low(shard->free), dict_high(shard->free), "free cells") != shard->free_last &&
		dict_high(shard->free) != 0)
		fail("the last free cell is another");
	if (dict_high(grant->size) != (uint32_t)shard->taken)
		(void)see(dict_low(grant->cells), dict_low(grant->size), "a grant");
	if (pool->given[shard - probe.dict->shard] != dict_high(shard->gift_size))
		(void)see(dict_low(shard->gift), dict_low(shard->gift_size), "a gift");
}

static void see_pool(struct dict_pool *pool)
{
	uint64_t free = 0;

	for (uint64_t at = pool->top; at != 0 && probe.problem[0] == '\0';) {
		const struct dict_cell *cell = dict_cell(probe.dict, (uint32_t)at);
		uint32_t count = dict_high(cell->as.batch.next);

		if (see(at, count, "a batch") != cell->as.batch.last)
			fail("a batch has another end than it says");
		free += count;
		at = dict_low(cell->as.batch.next);
	}
	if (free != pool->free)
		fail("the pool has another number of free cells than it says");
	probe.cells += probe.dict->cells + 1 - pool->fresh;
}

/* What is wrong with it; NULL when nothing is. */
const char *dict_probe(struct shm_dict *dict)
{
	shm_guard_enter(&dict->pool.guard, "probe");
	shm_guard_leave(&dict->pool.guard);
	probe.dict = dict;
	probe.seen = calloc(1, dict->cells + 1);
	probe.cells = 0;
	probe.problem[0] = '\0';
	for (uint64_t i = 0; i < dict->shards; i++) {
		shm_guard_enter(&dict->shard[i].guard, "probe");
		shm_guard_leave(&dict->shard[i].guard);
		see_shard(&dict->shard[i]);
	}
	see_pool(&dict->pool);
	if (probe.cells != dict->cells)
		fail("%lld cells are lost", (long long)(dict->cells - probe.cells));
	free(probe.seen);
	return probe.problem[0] != '\0' ? probe.problem : NULL;
}
