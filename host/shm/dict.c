/*
 * Dicts: what one operation does to one key. Runs in every process that uses shared objects.
 *
 * Readers take no lock: they copy what they find, and look whether the shard was in motion
 * meanwhile (guard.h). Only when it does not come to rest do they wait for the guard.
 */
#include "shm/dict_found.h"

#define STEPS_UNGUARDED 4096   /* entries of a bucket that a reader without the guard looks at */
#define READ_TRIES      100    /* looks at a shard in motion before its guard is waited for */
#define TORN            (-100) /* not a state that there was: read again */

/* ---- Reading ------------------------------------------------------------------------------- */

static int read_entry(struct dict_use *use, struct dict_cell *cell, struct shm_dict_found *found)
{
	uint64_t chain = dict_load(&cell->as.entry.chain);
	uint64_t state = dict_load(&cell->as.entry.state);
	uint64_t expires = dict_load(&cell->as.entry.expires);
	int type = dict_type(chain);
	struct dict_place place = {cell, dict_start(type) + dict_key_size(chain)};

	found->ttl = -1;
	if (expires != 0) {
		if (expires <= dict_now(use))
			return SHM_DICT_NONE;
		found->ttl = (double)(expires - dict_now(use)) / 1000;
	}
	found->version = (int64_t)dict_version(state);
	while (place.offset > DICT_CELL) {
		uint32_t behind = place.offset - DICT_CELL;

		if (!dict_place_next(use->dict, &place))
			return TORN;
		place.offset += behind;
	}
	return dict_found_value(use->dict, &place, dict_load(&cell->as.entry.number),
		       dict_size(state), found)
		       ? type
		       : TORN;
}

enum dict_outcome { DICT_ABSENT, DICT_PRESENT, DICT_TORN };

/* Finds the key's entry. Without the guard the answer holds if shm_guard_seen says so. */
static inline enum dict_outcome dict_find(
	const struct dict_use *use, struct dict_spot *spot, bool guarded)
{
	unsigned steps = 0;

	spot->from = use->bucket;
	for (;;) {
		uint64_t chain;

		spot->index = dict_low(dict_load(spot->from));
		if (spot->index == 0)
			return DICT_ABSENT;
		if (!guarded && (spot->index > use->dict->cells || ++steps > STEPS_UNGUARDED))
			return DICT_TORN;
		spot->cell = dict_cell(use->dict, spot->index);
		dict_prefetch(spot->cell);
		chain = dict_load(&spot->cell->as.entry.chain);
		if (dict_is_key(use, spot->cell, chain))
			return DICT_PRESENT;
		spot->from = &spot->cell->as.entry.chain;
	}
}

static int find_and_read(
	struct dict_use *use, struct shm_dict_found *found, uint32_t *ret_index, bool guarded)
{
	struct dict_spot spot;

	switch (dict_find(use, &spot, guarded)) {
	case DICT_PRESENT:
		*ret_index = spot.index;
		return read_entry(use, spot.cell, found);
	case DICT_ABSENT:
		return SHM_DICT_NONE;
	default:
		return TORN;
	}
}

static int read_guarded(struct dict_use *use, struct shm_dict_found *found, uint32_t *ret_index)
{
	int result;

	shm_guard_enter(&use->shard->guard, "dict.read");
	result = find_and_read(use, found, ret_index, true);
	shm_guard_leave(&use->shard->guard);
	CHECK(result != TORN);
	return result;
}

static int read_key(struct dict_use *use, struct shm_dict_found *found, uint32_t *ret_index)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t sequence;
		int result;

		if (!shm_guard_look(&use->shard->guard, &sequence))
			continue;
		result = find_and_read(use, found, ret_index, false);
		if (result != TORN && shm_guard_seen(&use->shard->guard, sequence))
			return result;
	}
	return read_guarded(use, found, ret_index);
}

int shm_dict_look(
	struct shm_dict *dict, const char *key, size_t key_size, struct shm_dict_found *found)
{
	struct dict_use use;
	uint32_t index;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	return read_key(&use, found, &index);
}

int shm_dict_get(
	struct shm_dict *dict, const char *key, size_t key_size, struct shm_dict_found *found)
{
	struct dict_use use;
	uint32_t index;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	result = read_key(&use, found, &index);
	if (result > 0)
		dict_mark_used(dict, index);
	return result;
}

int shm_dict_touch(struct shm_dict *dict, const char *key, size_t key_size)
{
	struct shm_dict_found found;
	int result = shm_dict_get(dict, key, key_size, &found);

	return result > 0 ? SHM_DICT_DONE : result;
}

/* ---- Storing ------------------------------------------------------------------------------- */

/* Whether `how` allows it: SHM_DICT_DONE, or why not. */
static int may_store(int64_t how, const struct dict_spot *spot, bool present)
{
	if (how == SHM_DICT_SET)
		return SHM_DICT_DONE;
	if (how == SHM_DICT_ADD)
		return present ? SHM_DICT_EXISTS : SHM_DICT_DONE;
	if (!present)
		return how == SHM_DICT_REPLACE ? SHM_DICT_NONE : SHM_DICT_CHANGED;
	if (how == SHM_DICT_REPLACE || dict_version(spot->cell->as.entry.state) == (uint64_t)how)
		return SHM_DICT_DONE;
	return SHM_DICT_CHANGED;
}

static int try_store(struct dict_use *use, int64_t how, const struct dict_value *value, double ttl)
{
	struct dict_spot spot;
	bool present = dict_find_live(use, &spot);
	int result = may_store(how, &spot, present);
	uint64_t expires = 0;

	if (result != SHM_DICT_DONE)
		return result;
	if (ttl > 0)
		expires = dict_expiry(use, ttl);
	else if (ttl < 0 && present)
		expires = spot.cell->as.entry.expires;
	result = dict_put(use, &spot, present, value, expires);
	dict_cells_share(use->dict, use->shard);
	return result;
}

static int store(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	const struct dict_value *value, double ttl)
{
	struct dict_use use;
	unsigned tries = 0;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	if (value->size > SHM_DICT_VALUE_MAX || dict_value_cells(key_size, value) > dict->cells)
		return SHM_DICT_TOO_BIG;
	do {
		shm_guard_enter(&use.shard->guard, "dict.set");
		result = try_store(&use, how, value, ttl);
		shm_guard_leave(&use.shard->guard);
		if (result <= SHM_DICT_DONE)
			return result;
	} while (dict_room_make(&use, (uint32_t)(result - SHM_DICT_DONE), &tries));
	return SHM_DICT_FULL;
}

int shm_dict_set_number(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	double number, double ttl)
{
	return store(dict, key, key_size, how,
		&(struct dict_value){.type = SHM_DICT_NUMBER, .bits = dict_bits_of(number)}, ttl);
}

int shm_dict_set_integer(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	int64_t integer, double ttl)
{
	return store(dict, key, key_size, how,
		&(struct dict_value){.type = SHM_DICT_INTEGER, .bits = (uint64_t)integer}, ttl);
}

int shm_dict_set_boolean(
	struct shm_dict *dict, const char *key, size_t key_size, int64_t how, int value, double ttl)
{
	return store(dict, key, key_size, how,
		&(struct dict_value){.type = SHM_DICT_BOOLEAN, .bits = dict_bits_of(value != 0)},
		ttl);
}

int shm_dict_set_bytes(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	int type, const char *data, size_t size, double ttl)
{
	return store(dict, key, key_size, how,
		&(struct dict_value){.type = type, .data = data, .size = size}, ttl);
}

/* ---- Adding -------------------------------------------------------------------------------- */

/* What is added, and to what when there is nothing; as it is in a number of either type. */
struct addition {
	int type; /* of what is made */
	double number;
	int64_t integer;
	double initial_number;
	int64_t initial_integer;
	bool whole; /* `integer` says it exactly */
};

/* Integers wrap at the ends of their range, as the hardware's addition does. */
static uint64_t sum_of(int type, uint64_t bits, const struct addition *addition)
{
	if (type == SHM_DICT_INTEGER)
		return bits + (uint64_t)addition->integer;
	return dict_bits_of(dict_number_of(bits) + addition->number);
}

static int try_add(struct dict_use *use, const struct addition *addition, double ttl,
	struct shm_dict_found *found)
{
	struct dict_value value = {.type = addition->type};
	struct dict_spot spot;
	bool present = dict_find_live(use, &spot);
	uint64_t expires = present ? spot.cell->as.entry.expires : 0;
	uint64_t old = addition->type == SHM_DICT_INTEGER ? (uint64_t)addition->initial_integer
							  : dict_bits_of(addition->initial_number);
	int result;

	if (present) {
		value.type = dict_type(spot.cell->as.entry.chain);
		old = spot.cell->as.entry.number;
		if (value.type != SHM_DICT_NUMBER &&
			(value.type != SHM_DICT_INTEGER || !addition->whole))
			return SHM_DICT_WRONG_TYPE;
	} else if (ttl > 0) {
		expires = dict_expiry(use, ttl);
	}
	value.bits = sum_of(value.type, old, addition);
	found->integer = (int64_t)value.bits;
	found->number = dict_number_of(value.bits);
	result = dict_put(use, &spot, present, &value, expires);
	return result == SHM_DICT_DONE ? value.type : result;
}

static int add(struct shm_dict *dict, const char *key, size_t key_size,
	const struct addition *addition, double ttl, struct shm_dict_found *found)
{
	struct dict_use use;
	unsigned tries = 0;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	do {
		shm_guard_enter(&use.shard->guard, "dict.add");
		result = try_add(&use, addition, ttl, found);
		shm_guard_leave(&use.shard->guard);
		if (result <= SHM_DICT_DONE)
			return result;
	} while (dict_room_make(&use, (uint32_t)(result - SHM_DICT_DONE), &tries));
	return SHM_DICT_FULL;
}

int shm_dict_add_number(struct shm_dict *dict, const char *key, size_t key_size, double by,
	double initial, double ttl, struct shm_dict_found *found)
{
	struct addition addition = {
		.type = SHM_DICT_NUMBER, .number = by, .initial_number = initial};

	if (by >= -0x1p63 && by < 0x1p63) {
		addition.integer = (int64_t)by;
		addition.whole = (double)addition.integer == by;
	}
	return add(dict, key, key_size, &addition, ttl, found);
}

int shm_dict_add_integer(struct shm_dict *dict, const char *key, size_t key_size, int64_t by,
	int64_t initial, double ttl, struct shm_dict_found *found)
{
	struct addition addition = {.type = SHM_DICT_INTEGER,
		.number = (double)by,
		.integer = by,
		.initial_integer = initial,
		.whole = true};

	return add(dict, key, key_size, &addition, ttl, found);
}

/* ---- Removing, expiring -------------------------------------------------------------------- */

int shm_dict_delete(struct shm_dict *dict, const char *key, size_t key_size, int64_t version)
{
	struct dict_use use;
	struct dict_spot spot;
	int result = SHM_DICT_NONE;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	shm_guard_enter(&use.shard->guard, "dict.delete");
	if (dict_find_live(&use, &spot)) {
		result = may_store(version, &spot, true);
		if (result == SHM_DICT_DONE) {
			dict_entry_remove(dict, use.shard, &spot);
			dict_cells_share(dict, use.shard);
		}
	}
	shm_guard_leave(&use.shard->guard);
	dict_graves_clear(dict, use.shard);
	return result;
}

int shm_dict_expire(struct shm_dict *dict, const char *key, size_t key_size, double ttl)
{
	struct dict_use use;
	struct dict_spot spot;
	int result = SHM_DICT_NONE;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	shm_guard_enter(&use.shard->guard, "dict.expire");
	if (dict_find_live(&use, &spot)) {
		dict_set_expires(use.shard, spot.cell, ttl > 0 ? dict_expiry(&use, ttl) : 0);
		result = SHM_DICT_DONE;
	}
	shm_guard_leave(&use.shard->guard);
	return result;
}
