/* A dict's entries: see dict_table.h. Runs in every process that uses shared objects. */
#include "shm/dict_table.h"

#include <time.h>

uint64_t dict_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t dict_now(struct dict_use *use)
{
	if (use->now == 0)
		use->now = dict_clock();
	return use->now;
}

uint64_t dict_expiry(struct dict_use *use, double ttl)
{
	double ms = ttl * 1000;

	if (ms >= 1e15) /* 30,000 years */
		return 0;
	return dict_now(use) + (ms < 1 ? 1 : (uint64_t)ms);
}

/* ---- Finding ------------------------------------------------------------------------------- */

static bool is_expired(struct dict_use *use, const struct dict_cell *cell)
{
	return cell->as.entry.expires != 0 && cell->as.entry.expires <= dict_now(use);
}

bool dict_find_live(struct dict_use *use, struct dict_spot *spot)
{
	struct dict_shard *shard = use->shard;

	spot->from = use->bucket;
	while ((spot->index = dict_low(*spot->from)) != 0) {
		spot->cell = dict_cell(use->dict, spot->index);
		dict_prefetch(spot->cell);
		if (is_expired(use, spot->cell)) {
			dict_entry_remove(use->dict, shard, spot);
			shm_guard_commit(&shard->guard);
			shard->expired++;
			continue;
		}
		if (dict_is_key(use, spot->cell, spot->cell->as.entry.chain))
			return true;
		spot->from = &spot->cell->as.entry.chain;
	}
	return false;
}

/* ---- Making and removing ------------------------------------------------------------------- */

uint64_t dict_version_new(const struct dict_shard *shard)
{
	return (shard->guard.sequence | 1) & (UINT64_MAX >> DICT_STATE_BITS);
}

void dict_note_expiry(struct dict_shard *shard, uint64_t expires)
{
	if (expires == 0)
		return;
	if (expires < shard->soonest)
		shm_guard_set(&shard->guard, &shard->soonest, expires);
	if (expires < shard->newcomers)
		shm_guard_set(&shard->guard, &shard->newcomers, expires);
}

static void add_load(struct dict_shard *shard, int entries, int64_t cells)
{
	shm_guard_set(&shard->guard, &shard->load,
		dict_pair(dict_low(shard->load) + (uint32_t)entries,
			(uint64_t)((int64_t)dict_high(shard->load) + cells)));
}

uint32_t dict_entry_make(struct dict_use *use, const struct dict_spot *old,
	const struct dict_value *value, uint64_t expires)
{
	struct dict_shard *shard = use->shard;
	uint32_t index = dict_low(shard->free);
	uint32_t count = dict_value_cells(use->key_size, value);
	struct dict_cell *cell = dict_cell(use->dict, index);
	struct dict_place place = {cell, dict_start(value->type)};
	uint64_t *from = old != NULL ? old->from : use->bucket;
	uint32_t next = dict_low(old != NULL ? old->cell->as.entry.chain : *from);

	cell->as.entry.chain = dict_chain(next, use->key_bits, value->type);
	cell->as.entry.expires = expires;
	cell->as.entry.state = dict_state(value->size, dict_version_new(shard));
	if (place.offset > offsetof(struct dict_cell, as.entry.number))
		cell->as.entry.number = value->bits;
	if (place.offset > offsetof(struct dict_cell, as.entry.length))
		cell->as.entry.length = 0;
	if (place.offset + use->key_size <= DICT_CELL) {
		dict_bytes_copy((char *)cell + place.offset, use->key, use->key_size);
		place.offset += (uint32_t)use->key_size;
	} else {
		dict_bytes_write(use->dict, &place, use->key, use->key_size);
	}
	dict_bytes_write(use->dict, &place, value->data, value->size);
	*dict_mark(use->dict, index) = old != NULL;

	if (old == NULL) {
		dict_cells_take(use->dict, shard, place.cell, count);
		add_load(shard, 1, count);
	} else {
		uint32_t freed = dict_entry_cells(old->cell);

		dict_cells_swap(use->dict, shard, place.cell, count, old->index, freed);
		if (freed != count)
			add_load(shard, 0, (int64_t)count - freed);
	}
	shm_guard_set(&shard->guard, from, dict_pair(index, dict_high(*from)));
	dict_note_expiry(shard, expires);
	return index;
}

void dict_entry_remove(
	struct shm_dict *dict, struct dict_shard *shard, const struct dict_spot *spot)
{
	struct dict_cell *cell = spot->cell;
	uint64_t chain = cell->as.entry.chain;
	uint32_t count = dict_entry_cells(cell);

	shm_guard_set(
		&shard->guard, spot->from, dict_pair(dict_low(chain), dict_high(*spot->from)));
	if (dict_type(chain) == SHM_DICT_LIST && cell->as.entry.length != 0) {
		shm_guard_set(&shard->guard, &cell->as.entry.chain,
			dict_pair(shard->grave, dict_high(chain)));
		shm_guard_set(&shard->guard, &shard->grave, spot->index);
		add_load(shard, -1, 0);
		return;
	}
	dict_cells_free(dict, shard, spot->index, count);
	add_load(shard, -1, -(int64_t)count);
}

/* ---- Storing ------------------------------------------------------------------------------- */

void dict_mark_used(struct shm_dict *dict, uint32_t index)
{
	unsigned char *mark = dict_mark(dict, index);

	if (dict->evicts && __atomic_load_n(mark, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(mark, 1, __ATOMIC_RELAXED);
}

static bool is_small(int type)
{
	return type == SHM_DICT_NUMBER || type == SHM_DICT_INTEGER || type == SHM_DICT_BOOLEAN;
}

void dict_set_expires(struct dict_shard *shard, struct dict_cell *cell, uint64_t expires)
{
	if (cell->as.entry.expires == expires)
		return;
	shm_guard_set(&shard->guard, &cell->as.entry.expires, expires);
	dict_note_expiry(shard, expires);
}

/* A number or boolean in the place of another. */
static void overwrite(struct dict_use *use, const struct dict_spot *spot,
	const struct dict_value *value, uint64_t expires)
{
	struct shm_guard *guard = &use->shard->guard;
	struct dict_cell *cell = spot->cell;
	uint64_t chain = cell->as.entry.chain;

	shm_guard_set(guard, &cell->as.entry.number, value->bits);
	shm_guard_set(guard, &cell->as.entry.state, dict_state(0, dict_version_new(use->shard)));
	if (dict_type(chain) != value->type)
		shm_guard_set(guard, &cell->as.entry.chain,
			dict_chain(dict_low(chain), chain & DICT_KEY_MASK, value->type));
	dict_set_expires(use->shard, cell, expires);
	dict_mark_used(use->dict, spot->index);
}

int dict_put(struct dict_use *use, struct dict_spot *spot, bool present,
	const struct dict_value *value, uint64_t expires)
{
	int type = present ? dict_type(spot->cell->as.entry.chain) : 0;
	uint32_t count = dict_value_cells(use->key_size, value);

	if (present && is_small(type) && is_small(value->type)) {
		overwrite(use, spot, value, expires);
		return SHM_DICT_DONE;
	}
	if (!dict_cells_ready(use->dict, use->shard, count))
		return SHM_DICT_DONE + (int)count;
	if (type == SHM_DICT_LIST) {
		dict_entry_remove(use->dict, use->shard, spot);
		present = false;
	}
	(void)dict_entry_make(use, present ? spot : NULL, value, expires);
	return SHM_DICT_DONE;
}
