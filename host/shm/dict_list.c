/*
 * Lists in a dict: an entry with the two ends of a chain of elements, each of which knows its
 * neighbours. Either end costs the same, however long the list is. Runs in every process that uses
 * shared objects.
 */
#include "shm/dict_list.h"

#include "shm/dict_found.h"

#define ELEMENT_START 32 /* the byte of an element's first cell where its value begins */

static uint32_t element_cells(size_t size)
{
	return dict_cells_for(size, ELEMENT_START);
}

static void set_load(struct dict_shard *shard, int64_t cells)
{
	shm_guard_set(&shard->guard, &shard->load,
		dict_pair(dict_low(shard->load),
			(uint64_t)((int64_t)dict_high(shard->load) + cells)));
}

static void set_length(struct dict_shard *shard, struct dict_cell *list, uint64_t length)
{
	shm_guard_set(&shard->guard, &list->as.entry.length, length);
	shm_guard_set(&shard->guard, &list->as.entry.state, dict_state(0, dict_version_new(shard)));
}

void dict_list_drop(
	struct shm_dict *dict, struct dict_shard *shard, struct dict_cell *list, bool front)
{
	struct shm_guard *guard = &shard->guard;
	uint64_t ends = list->as.entry.number;
	uint32_t index = front ? dict_low(ends) : dict_high(ends);
	const struct dict_cell *element = dict_cell(dict, index);
	uint64_t around = element->as.element.around;
	uint32_t neighbour = front ? dict_high(around) : dict_low(around);
	uint32_t count = element_cells(dict_size(element->as.element.state));

	if (neighbour == 0) {
		shm_guard_set(guard, &list->as.entry.number, 0);
	} else {
		uint64_t *other = &dict_cell(dict, neighbour)->as.element.around;

		shm_guard_set(guard, other,
			front ? dict_pair(0, dict_high(*other)) : dict_pair(dict_low(*other), 0));
		shm_guard_set(guard, &list->as.entry.number,
			front ? dict_pair(neighbour, dict_high(ends))
			      : dict_pair(dict_low(ends), neighbour));
	}
	set_length(shard, list, list->as.entry.length - 1);
	dict_cells_free(dict, shard, index, count);
	set_load(shard, -(int64_t)count);
}

/* Makes an element in free cells and links it at one end. */
static void add_element(
	struct dict_use *use, struct dict_cell *list, bool front, const struct dict_value *value)
{
	struct dict_shard *shard = use->shard;
	uint64_t ends = list->as.entry.number;
	uint32_t neighbour = front ? dict_low(ends) : dict_high(ends);
	uint32_t index = dict_low(shard->free);
	uint32_t count = element_cells(value->size);
	struct dict_cell *cell = dict_cell(use->dict, index);
	struct dict_place place = {cell, ELEMENT_START};

	cell->as.element.around = front ? dict_pair(0, neighbour) : dict_pair(neighbour, 0);
	cell->as.element.number = value->bits;
	cell->as.element.state = dict_state(value->size, (uint64_t)value->type);
	dict_bytes_write(use->dict, &place, value->data, value->size);
	dict_cells_take(use->dict, shard, place.cell, count);
	if (neighbour == 0) {
		ends = dict_pair(index, index);
	} else {
		uint64_t *other = &dict_cell(use->dict, neighbour)->as.element.around;

		shm_guard_set(&shard->guard, other,
			front ? dict_pair(index, dict_high(*other))
			      : dict_pair(dict_low(*other), index));
		ends = front ? dict_pair(index, dict_high(ends)) : dict_pair(dict_low(ends), index);
	}
	shm_guard_set(&shard->guard, &list->as.entry.number, ends);
	set_length(shard, list, list->as.entry.length + 1);
	set_load(shard, count);
}

/* Returns the result, or how many cells must be free first: a number above SHM_DICT_DONE. */
static int try_push(struct dict_use *use, bool front, const struct dict_value *value,
	struct shm_dict_found *found)
{
	const struct dict_value empty = {.type = SHM_DICT_LIST};
	uint32_t count = element_cells(value->size);
	struct dict_spot spot;
	bool present = dict_find_live(use, &spot);

	if (present && dict_type(spot.cell->as.entry.chain) != SHM_DICT_LIST)
		return SHM_DICT_WRONG_TYPE;
	if (!present)
		count += dict_value_cells(use->key_size, &empty);
	if (count > use->dict->cells)
		return SHM_DICT_TOO_BIG;
	if (!dict_cells_ready(use->dict, use->shard, count))
		return SHM_DICT_DONE + (int)count;
	if (!present)
		spot.index = dict_entry_make(use, NULL, &empty, 0);
	spot.cell = dict_cell(use->dict, spot.index);
	add_element(use, spot.cell, front, value);
	*dict_mark(use->dict, spot.index) = 1;
	found->number = (double)spot.cell->as.entry.length;
	return SHM_DICT_DONE;
}

static int push(struct shm_dict *dict, const char *key, size_t key_size, int front,
	const struct dict_value *value, struct shm_dict_found *found)
{
	struct dict_use use;
	unsigned tries = 0;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	if (value->size > SHM_DICT_VALUE_MAX)
		return SHM_DICT_TOO_BIG;
	do {
		shm_guard_enter(&use.shard->guard, "dict.push");
		result = try_push(&use, front != 0, value, found);
		shm_guard_leave(&use.shard->guard);
		if (result <= SHM_DICT_DONE)
			return result;
	} while (dict_room_make(&use, (uint32_t)(result - SHM_DICT_DONE), &tries));
	return SHM_DICT_FULL;
}

int shm_dict_push_number(struct shm_dict *dict, const char *key, size_t key_size, int front,
	double number, struct shm_dict_found *found)
{
	return push(dict, key, key_size, front,
		&(struct dict_value){.type = SHM_DICT_NUMBER, .bits = dict_bits_of(number)}, found);
}

int shm_dict_push_integer(struct shm_dict *dict, const char *key, size_t key_size, int front,
	int64_t integer, struct shm_dict_found *found)
{
	return push(dict, key, key_size, front,
		&(struct dict_value){.type = SHM_DICT_INTEGER, .bits = (uint64_t)integer}, found);
}

int shm_dict_push_boolean(struct shm_dict *dict, const char *key, size_t key_size, int front,
	int value, struct shm_dict_found *found)
{
	return push(dict, key, key_size, front,
		&(struct dict_value){.type = SHM_DICT_BOOLEAN, .bits = dict_bits_of(value != 0)},
		found);
}

int shm_dict_push_bytes(struct shm_dict *dict, const char *key, size_t key_size, int front,
	int type, const char *data, size_t size, struct shm_dict_found *found)
{
	return push(dict, key, key_size, front,
		&(struct dict_value){.type = type, .data = data, .size = size}, found);
}

/* Copies an element out; returns its type. */
static int read_element(struct shm_dict *dict, uint32_t index, struct shm_dict_found *found)
{
	struct dict_cell *cell = dict_cell(dict, index);
	struct dict_place place = {cell, ELEMENT_START};
	uint64_t state = cell->as.element.state;

	CHECK(dict_found_value(dict, &place, cell->as.element.number, dict_size(state), found));
	return (int)dict_version(state);
}

/* The list of the key: SHM_DICT_DONE, or why there is none. */
static int find_list(struct dict_use *use, struct dict_spot *spot)
{
	if (!dict_find_live(use, spot))
		return SHM_DICT_NONE;
	if (dict_type(spot->cell->as.entry.chain) != SHM_DICT_LIST)
		return SHM_DICT_WRONG_TYPE;
	return SHM_DICT_DONE;
}

int shm_dict_pop(struct shm_dict *dict, const char *key, size_t key_size, int front,
	struct shm_dict_found *found)
{
	struct dict_use use;
	struct dict_spot spot;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	shm_guard_enter(&use.shard->guard, "dict.pop");
	result = find_list(&use, &spot);
	if (result == SHM_DICT_DONE) {
		uint64_t ends = spot.cell->as.entry.number;

		result = read_element(dict, front != 0 ? dict_low(ends) : dict_high(ends), found);
		dict_list_drop(dict, use.shard, spot.cell, front != 0);
		if (spot.cell->as.entry.length == 0)
			dict_entry_remove(dict, use.shard, &spot);
		dict_cells_share(dict, use.shard);
	}
	shm_guard_leave(&use.shard->guard);
	return result;
}

int shm_dict_length(
	struct shm_dict *dict, const char *key, size_t key_size, struct shm_dict_found *found)
{
	struct dict_use use;
	struct dict_spot spot;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	shm_guard_enter(&use.shard->guard, "dict.length");
	result = find_list(&use, &spot);
	if (result == SHM_DICT_DONE)
		found->number = (double)spot.cell->as.entry.length;
	shm_guard_leave(&use.shard->guard);
	return result;
}

int shm_dict_element(struct shm_dict *dict, const char *key, size_t key_size, int64_t version,
	int64_t *cursor, struct shm_dict_found *found)
{
	struct dict_use use;
	struct dict_spot spot;
	int result;

	if (!dict_use_begin(&use, dict, key, key_size))
		return SHM_DICT_BAD_KEY;
	shm_guard_enter(&use.shard->guard, "dict.element");
	result = find_list(&use, &spot);
	if (result == SHM_DICT_DONE) {
		uint64_t now = dict_version(spot.cell->as.entry.state);
		uint64_t index =
			*cursor == 0
				? dict_low(spot.cell->as.entry.number)
				: dict_high(dict_cell(dict, (uint32_t)*cursor)->as.element.around);

		found->version = (int64_t)now;
		if (version != 0 && (uint64_t)version != now)
			result = SHM_DICT_CHANGED;
		else if (index == 0)
			result = SHM_DICT_NONE;
		else
			result = read_element(dict, (uint32_t)index, found);
		*cursor = (int64_t)index;
	}
	shm_guard_leave(&use.shard->guard);
	return result;
}
