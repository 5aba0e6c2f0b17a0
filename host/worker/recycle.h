/* When a worker is used up: after so many requests, so much memory, so much time. */
#ifndef PERIGEE_WORKER_RECYCLE_H
#define PERIGEE_WORKER_RECYCLE_H

#include <stdbool.h>
#include <stdint.h>

/* The settings max_…; 0 is no limit. A jitter is how much more than that it may be, at random. */
struct recycle_limits {
	uint64_t requests;
	uint64_t requests_jitter;
	uint64_t memory;   /* bytes resident, as ps shows them */
	uint64_t lifetime; /* ms */
	uint64_t lifetime_jitter;
};

/* The worker is used up; `why` is for the log. Called once. */
typedef void recycle_used_up(void *context, const char *why);

struct recycle {
	uint64_t requests_left; /* until it is used up; UINT64_MAX: no limit */
	uint64_t requests;      /* the limit, with its jitter */
	uint64_t memory;
	uint64_t until;   /* clock_now(); UINT64_MAX: no limit */
	uint64_t started; /* clock_now() */
	bool done;        /* used_up was called */
	recycle_used_up *used_up;
	void *context;
};

/* Counts from now on. Before it, recycle_count and recycle_look do nothing. */
void recycle_start(struct recycle *recycle, const struct recycle_limits *limits,
	recycle_used_up *used_up, void *context);

/* Looks at memory and time; to be called about once a second. */
void recycle_look(struct recycle *recycle);

/* The last request that it is good for has come. */
void recycle_requests_over(struct recycle *recycle);

/* A request has come. */
static inline void recycle_count(struct recycle *recycle)
{
	if (--recycle->requests_left == 0)
		recycle_requests_over(recycle);
}

#endif
