/* A dict's cells and its pool: see dict_cells.h. Runs in every process that uses shared objects. */
#include "shm/dict_cells.h"

#define FRESH 64 /* cells of a batch that were never used; memory behind them stays untouched */

static size_t part_of(const struct dict_place *place, size_t size)
{
	size_t room = DICT_CELL - place->offset;

	return size < room ? size : room;
}

/* Copies whole cells' ends, which costs less than as much as is wanted: `to` has room for that, and
 * behind the last cell there is one more. */
bool dict_bytes_read(struct shm_dict *dict, struct dict_place *place, char *to, size_t size)
{
	size_t part = part_of(place, size);

	memcpy(to, (const char *)place->cell + place->offset, DICT_CELL);
	place->offset += (uint32_t)part;
	for (to += part, size -= part; size != 0; to += part, size -= part) {
		if (!dict_place_next(dict, place))
			return false;
		part = part_of(place, size);
		memcpy(to, (const char *)place->cell + DICT_LINK, DICT_CELL - DICT_LINK);
		place->offset += (uint32_t)part;
	}
	return true;
}

bool dict_bytes_equal(
	struct shm_dict *dict, struct dict_place *place, const char *data, size_t size)
{
	while (size != 0) {
		size_t part = part_of(place, size);

		if (part == 0) {
			if (!dict_place_next(dict, place))
				return false;
			continue;
		}
		if (memcmp(data, (const char *)place->cell + place->offset, part) != 0)
			return false;
		place->offset += (uint32_t)part;
		data += part;
		size -= part;
	}
	return true;
}

void dict_bytes_write(
	struct shm_dict *dict, struct dict_place *place, const char *data, size_t size)
{
	while (size != 0) {
		size_t part = part_of(place, size);

		if (part == 0) {
			CHECK(dict_place_next(dict, place));
			continue;
		}
		dict_bytes_copy((char *)place->cell + place->offset, data, part);
		place->offset += (uint32_t)part;
		data += part;
		size -= part;
	}
}

/* ---- The shard's free cells ---------------------------------------------------------------- */

static void set_next(struct shm_guard *guard, struct dict_cell *cell, uint32_t next)
{
	shm_guard_set(guard, &cell->link, dict_pair(next, dict_high(cell->link)));
}

/* Puts a chain before the shard's free cells. */
static void prepend(struct shm_dict *dict, struct dict_shard *shard, uint32_t first, uint32_t last,
	uint32_t count)
{
	uint32_t present = dict_high(shard->free);

	if (present == 0)
		shm_guard_set(&shard->guard, &shard->free_last, last);
	else
		set_next(&shard->guard, dict_cell(dict, last), dict_low(shard->free));
	shm_guard_set(&shard->guard, &shard->free, dict_pair(first, (uint64_t)present + count));
}

/* The number of a cell. */
static uint32_t number_of(struct shm_dict *dict, const struct dict_cell *cell)
{
	return (uint32_t)(cell - dict_cell(dict, 1)) + 1;
}

/* Notes the end of the chain that begins with the first free cell; that one is not used yet. */
static void end_chain(struct shm_dict *dict, struct dict_shard *shard, const struct dict_cell *last)
{
	struct dict_cell *first = dict_cell(dict, dict_low(shard->free));

	first->link = dict_pair(dict_low(first->link), number_of(dict, last));
}

void dict_cells_take(struct shm_dict *dict, struct dict_shard *shard, const struct dict_cell *last,
	uint32_t count)
{
	end_chain(dict, shard, last);
	shm_guard_set(&shard->guard, &shard->free,
		dict_pair(dict_low(last->link), (uint64_t)dict_high(shard->free) - count));
}

void dict_cells_free(
	struct shm_dict *dict, struct dict_shard *shard, uint32_t first, uint32_t count)
{
	prepend(dict, shard, first, dict_high(dict_cell(dict, first)->link), count);
}

void dict_cells_swap(struct shm_dict *dict, struct dict_shard *shard, const struct dict_cell *last,
	uint32_t count, uint32_t first, uint32_t freed)
{
	uint32_t end = dict_high(dict_cell(dict, first)->link);
	uint32_t left = dict_high(shard->free) - count;

	end_chain(dict, shard, last);
	if (left == 0)
		shm_guard_set(&shard->guard, &shard->free_last, end);
	else
		set_next(&shard->guard, dict_cell(dict, end), dict_low(last->link));
	shm_guard_set(&shard->guard, &shard->free, dict_pair(first, (uint64_t)left + freed));
}

/* ---- The pool ------------------------------------------------------------------------------ */

uint64_t dict_pool_free(const struct shm_dict *dict)
{
	return dict_load(&dict->pool.free) + dict->cells + 1 - dict_load(&dict->pool.fresh);
}

static void set_grant(struct dict_pool *pool, struct dict_grant *grant, uint32_t first,
	uint32_t last, uint32_t count)
{
	shm_guard_set(&pool->guard, &grant->cells, dict_pair(first, last));
	shm_guard_set(
		&pool->guard, &grant->size, dict_pair(count, (uint64_t)dict_high(grant->size) + 1));
}

/* Grants cells that were never used, which are linked for it. */
static void grant_fresh(struct shm_dict *dict, struct dict_grant *grant)
{
	struct dict_pool *pool = &dict->pool;
	uint32_t first = (uint32_t)pool->fresh;
	uint64_t left = dict->cells + 1 - first;
	uint32_t count = left < FRESH ? (uint32_t)left : FRESH;

	for (uint32_t i = first; i < first + count; i++)
		dict_cell(dict, i)->link = i + 1;
	shm_guard_set(&pool->guard, &pool->fresh, (uint64_t)first + count);
	set_grant(pool, grant, first, first + count - 1, count);
}

/* Grants the batch on top. */
static void grant_batch(struct shm_dict *dict, struct dict_grant *grant)
{
	struct dict_pool *pool = &dict->pool;
	uint32_t first = dict_low(pool->top);
	const struct dict_cell *cell = dict_cell(dict, first);
	uint32_t count = dict_high(cell->as.batch.next);

	shm_guard_set(&pool->guard, &pool->top, dict_low(cell->as.batch.next));
	shm_guard_set(&pool->guard, &pool->free, pool->free - count);
	set_grant(pool, grant, first, (uint32_t)cell->as.batch.last, count);
}

/* One grant more for the shard, also one that was not taken in before. False: the pool is empty. */
static bool refill(struct shm_dict *dict, struct dict_shard *shard)
{
	struct dict_pool *pool = &dict->pool;
	struct dict_grant *grant = &pool->grants[shard - dict->shard];

	shm_guard_enter(&pool->guard, "dict.grant");
	if (dict_high(grant->size) == (uint32_t)shard->taken) {
		if (pool->top != 0)
			grant_batch(dict, grant);
		else if (pool->fresh <= dict->cells)
			grant_fresh(dict, grant);
	}
	shm_guard_leave(&pool->guard);
	if (dict_high(grant->size) == (uint32_t)shard->taken)
		return false;
	prepend(dict, shard, dict_low(grant->cells), dict_high(grant->cells),
		dict_low(grant->size));
	shm_guard_set(&shard->guard, &shard->taken, dict_high(grant->size));
	shm_guard_commit(&shard->guard);
	return true;
}

bool dict_cells_ready(struct shm_dict *dict, struct dict_shard *shard, uint32_t count)
{
	while (dict_high(shard->free) < count) {
		if (!refill(dict, shard))
			return false;
	}
	return true;
}

/* Brings the shard's last gift to the pool, if that has not got it. */
static void send_gift(struct shm_dict *dict, struct dict_shard *shard)
{
	struct dict_pool *pool = &dict->pool;
	uint64_t *given = &pool->given[shard - dict->shard];
	uint64_t number = dict_high(shard->gift_size);
	uint32_t first = dict_low(shard->gift);
	uint32_t count = dict_low(shard->gift_size);

	if (shard->gift_sent == number)
		return;
	shm_guard_enter(&pool->guard, "dict.give");
	if (*given != number) {
		struct dict_cell *cell = dict_cell(dict, first);

		shm_guard_set(&pool->guard, &cell->as.batch.next, dict_pair(pool->top, count));
		shm_guard_set(&pool->guard, &cell->as.batch.last, dict_high(shard->gift));
		shm_guard_set(&pool->guard, &pool->top, first);
		shm_guard_set(&pool->guard, &pool->free, pool->free + count);
		shm_guard_set(&pool->guard, given, number);
	}
	shm_guard_leave(&pool->guard);
	shard->gift_sent = number;
}

void dict_cells_give(struct shm_dict *dict, struct dict_shard *shard, uint32_t keep)
{
	uint32_t count = dict_high(shard->free);
	uint32_t first = dict_low(shard->free);
	uint32_t kept = 0;

	shm_guard_commit(&shard->guard);
	send_gift(dict, shard);
	if (count <= keep)
		return;
	for (uint32_t i = 0; i < keep; i++) {
		kept = first;
		first = dict_low(dict_cell(dict, first)->link);
	}
	shm_guard_set(&shard->guard, &shard->gift, dict_pair(first, shard->free_last));
	shm_guard_set(&shard->guard, &shard->gift_size,
		dict_pair(count - keep, (uint64_t)dict_high(shard->gift_size) + 1));
	if (keep != 0)
		shm_guard_set(&shard->guard, &shard->free_last, kept);
	shm_guard_set(&shard->guard, &shard->free, dict_pair(dict_low(shard->free), keep));
	shm_guard_commit(&shard->guard);
	send_gift(dict, shard);
}
