/*
 * Shared metrics as Lua sees them, through LuaJIT's FFI; see metric.c.
 *
 * Plain declarations only: no directive but this guard and the includes, which the build strips.
 */
#ifndef PERIGEE_SHM_METRIC_ABI_H
#define PERIGEE_SHM_METRIC_ABI_H

#include <stddef.h>
#include <stdint.h>

struct shm_metric;
struct shm_value;

enum {
	SHM_METRIC_LABELS_SIZE = 64, /* bytes of the labels' names, and commas between them */
	SHM_METRIC_KEY_SIZE = 248    /* bytes of a series' values, and NULs between them */
};

/*
 * The metric called `name`, of kind "counter", "gauge" or "histogram", with `series` of them
 * besides the first; made when it does not exist and `create` is 1. `bounds` are a histogram's,
 * ascending, without the infinite one. NULL when it cannot be had; shm_last_error then says why.
 */
struct shm_metric *shm_metric_open(const char *name, const char *kind, const char *labels,
	uint64_t series, const double *bounds, uint64_t bound_count, int create);

/*
 * The number of the series with that key, made when there is none yet. 0, the series of all others,
 * when there is no room for one more, or the key is too long; that is counted. Does not lock when
 * it is there.
 */
uint64_t shm_metric_series(struct shm_metric *metric, const char *key, size_t size);

/* A counter or gauge: the cell of a series, a double. A histogram: 0: the sum, from 1 on: how many
 * were in the bucket, int64, the last one infinite. It stays where it is. */
struct shm_value *shm_metric_cell(struct shm_metric *metric, uint64_t series, uint64_t number);

/* Counts a value in a series of a histogram. */
void shm_metric_observe(struct shm_metric *metric, uint64_t series, double value);

struct shm_metric_stat {
	uint64_t limit;     /* series there may be, the first one not counted */
	uint64_t series;    /* that there are */
	uint64_t overflows; /* times that the first one stood in for another */
};
void shm_metric_read(struct shm_metric *metric, struct shm_metric_stat *stat);

/* The key of a series, from 1 to how many there are. */
const char *shm_metric_key(const struct shm_metric *metric, uint64_t series, uint64_t *ret_size);

#endif
