/*
 * Shared metrics: the series of a counter, gauge or histogram, by the values of their labels.
 *
 * A series is found in a table of numbers (open addressing, never more than half full) and never
 * goes or moves, so that processes keep pointers to its cells and count without looking it up. The
 * guard is for making one; a key is written where nothing leads yet, then linked.
 *
 * Runs in every process that runs Lua.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/cell.h"
#include "shm/guard.h"
#include "shm/hash.h"
#include "shm/last_error.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/metric_abi.h"
#pragma GCC visibility pop

#define LOOKS 100 /* without the lock, before it is taken */

struct series {
	uint64_t size; /* of the key */
	char key[SHM_METRIC_KEY_SIZE];
	int64_t cells[]; /* `width` of them */
};

/* In the region. Behind it: the bounds, the table, the series. */
struct shm_metric {
	struct shm_guard guard;
	uint64_t bound_count; /* of a histogram; never changes, as the next two */
	uint64_t width;       /* cells of a series */
	uint64_t limit;       /* series, the first one not counted */
	uint64_t table_size;  /* a power of two, at least twice `limit` */
	uint64_t count;       /* series in use, the first one not counted */
	uint64_t overflows;
	struct shm_hash_secret secret; /* never changes */
	uint64_t words[]; /* bounds, then the table: the number of a series; 0: empty */
};

static double *bounds_of(const struct shm_metric *metric)
{
	return (double *)(void *)(uintptr_t)metric->words;
}

static uint64_t *table_of(struct shm_metric *metric)
{
	return metric->words + metric->bound_count;
}

static uint64_t series_size(uint64_t width)
{
	return sizeof(struct series) + width * sizeof(int64_t);
}

static struct series *series_at(const struct shm_metric *metric, uint64_t number)
{
	uintptr_t first = (uintptr_t)(metric->words + metric->bound_count + metric->table_size);

	CHECK(number <= metric->limit);
	return (struct series *)(first + number * series_size(metric->width));
}

/* --- making --------------------------------------------------------------------------------- */

static uint64_t table_size(uint64_t limit)
{
	uint64_t size = 2;

	while (size < limit * 2)
		size *= 2;
	return size;
}

static int describe(char shape[SHM_SHAPE_MAX], const char *labels, uint64_t series,
	uint64_t bound_count, struct error *error)
{
	int size;

	if (strlen(labels) >= SHM_METRIC_LABELS_SIZE)
		return error_set(error, E2BIG,
			"the names of its labels have %zu bytes, too big: "
			"the most is %d",
			strlen(labels), SHM_METRIC_LABELS_SIZE - 1);
	size = snprintf(shape, SHM_SHAPE_MAX, "%" PRIu64 " series", series);
	if (labels[0] != '\0')
		size += snprintf(shape + size, SHM_SHAPE_MAX - (size_t)size, " by %s", labels);
	if (bound_count != 0)
		(void)snprintf(shape + size, SHM_SHAPE_MAX - (size_t)size, ", %" PRIu64 " buckets",
			bound_count + 1);
	return 0;
}

static int have_bounds(const struct shm_metric *metric, const char *name, const double *bounds,
	struct error *error)
{
	for (uint64_t i = 0; i < metric->bound_count; i++) {
		if (bounds_of(metric)[i] != bounds[i])
			return error_set(error, EEXIST,
				"shared object \"%s\" exists with other buckets: number %" PRIu64
				" ends at %g, not at %g; give it another name, or restart",
				name, i + 1, bounds_of(metric)[i], bounds[i]);
	}
	return 0;
}

struct shm_metric *shm_metric_open(const char *name, const char *kind, const char *labels,
	uint64_t series, const double *bounds, uint64_t bound_count, int create)
{
	uint64_t width = bound_count != 0 ? bound_count + 2 : 1;
	char shape[SHM_SHAPE_MAX];
	struct shm_want want = {
		.name = name,
		.kind = kind,
		.shape = shape,
		.size = sizeof(struct shm_metric) +
			(bound_count + table_size(series)) * sizeof(uint64_t) +
			(series + 1) * series_size(width),
	};
	struct shm_metric *metric;
	struct error error;
	int is_new = 0;

	if (describe(shape, labels, series, bound_count, &error) != 0) {
		(void)shm_fail(-1, &error);
		return NULL;
	}
	metric = shm_region_open(&want, create, &is_new);
	if (metric == NULL)
		return NULL;
	if ((is_new ? shm_hash_secret_make(&metric->secret, &error)
		    : have_bounds(metric, name, bounds, &error)) != 0) {
		(void)shm_fail(-1, &error);
		return NULL;
	}
	if (!is_new)
		return metric;
	shm_guard_init(&metric->guard);
	metric->bound_count = bound_count;
	metric->width = width;
	metric->limit = series;
	metric->table_size = table_size(series);
	for (uint64_t i = 0; i < bound_count; i++)
		bounds_of(metric)[i] = bounds[i];
	shm_region_publish(name);
	return metric;
}

/* --- finding -------------------------------------------------------------------------------- */

static bool is_key(const struct series *series, const char *key, size_t size)
{
	return series->size == size && memcmp(series->key, key, size) == 0;
}

/* The number of a series, or 0 with *ret_place where it belongs in the table. */
static uint64_t probe(struct shm_metric *metric, const char *key, size_t size, uint64_t **ret_place)
{
	uint64_t *table = table_of(metric);
	uint64_t at = shm_hash(&metric->secret, key, size);

	for (uint64_t i = 0; i < metric->table_size; i++) {
		uint64_t *place = &table[(at + i) & (metric->table_size - 1)];
		uint64_t number = __atomic_load_n(place, __ATOMIC_RELAXED);

		*ret_place = place;
		if (number == 0 || number > metric->limit)
			return 0;
		if (is_key(series_at(metric, number), key, size))
			return number;
	}
	return 0;
}

/* Without the lock. Returns false when a change was under way each time. */
static bool find(struct shm_metric *metric, const char *key, size_t size, uint64_t *ret_number)
{
	uint64_t sequence;
	uint64_t *place;

	for (int i = 0; i < LOOKS; i++) {
		if (!shm_guard_look(&metric->guard, &sequence))
			continue;
		*ret_number = probe(metric, key, size, &place);
		if (shm_guard_seen(&metric->guard, sequence))
			return true;
	}
	return false;
}

static uint64_t make(struct shm_metric *metric, const char *key, size_t size)
{
	struct shm_guard *guard = &metric->guard;
	uint64_t *place = NULL;
	uint64_t number;

	shm_guard_enter(guard, "metric.series");
	number = probe(metric, key, size, &place);
	if (number == 0 && place != NULL && metric->count < metric->limit) {
		struct series *series;

		number = metric->count + 1;
		series = series_at(metric, number);
		memcpy(series->key, key, size);
		series->size = size;
		__atomic_thread_fence(__ATOMIC_RELEASE);
		shm_guard_set(guard, place, number);
		shm_guard_set(guard, &metric->count, number);
	}
	shm_guard_leave(guard);
	return number;
}

uint64_t shm_metric_series(struct shm_metric *metric, const char *key, size_t size)
{
	uint64_t number = 0;

	if (size <= SHM_METRIC_KEY_SIZE) {
		bool is_full = __atomic_load_n(&metric->count, __ATOMIC_RELAXED) >= metric->limit;
		bool is_sure = find(metric, key, size, &number);

		if (number == 0 && (!is_full || !is_sure))
			number = make(metric, key, size);
	}
	if (number == 0)
		(void)__atomic_fetch_add(&metric->overflows, 1, __ATOMIC_RELAXED);
	return number;
}

/* --- counting and reading ------------------------------------------------------------------- */

struct shm_value *shm_metric_cell(struct shm_metric *metric, uint64_t series, uint64_t number)
{
	CHECK(number < metric->width);
	return (struct shm_value *)(void *)&series_at(metric, series)->cells[number];
}

void shm_metric_observe(struct shm_metric *metric, uint64_t series, double value)
{
	const double *bounds = bounds_of(metric);
	int64_t *cells = series_at(metric, series)->cells;
	uint64_t bucket = 0;

	while (bucket < metric->bound_count && value > bounds[bucket])
		bucket++;
	(void)cell_add(&cells[bucket + 1], 8, 1);
	(void)cell_add_double(&cells[0], value);
}

void shm_metric_read(struct shm_metric *metric, struct shm_metric_stat *stat)
{
	uint64_t sequence;

	if (!shm_guard_look(&metric->guard, &sequence)) { /* undoes what a dead process left */
		shm_guard_enter(&metric->guard, "metric.read");
		shm_guard_leave(&metric->guard);
	}
	*stat = (struct shm_metric_stat){
		.limit = metric->limit,
		.series = __atomic_load_n(&metric->count, __ATOMIC_ACQUIRE),
		.overflows = __atomic_load_n(&metric->overflows, __ATOMIC_RELAXED),
	};
}

const char *shm_metric_key(const struct shm_metric *metric, uint64_t series, uint64_t *ret_size)
{
	const struct series *found = series_at(metric, series);

	*ret_size = found->size <= SHM_METRIC_KEY_SIZE ? found->size : SHM_METRIC_KEY_SIZE;
	return found->key;
}
