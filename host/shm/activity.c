/* What processes are doing: see activity.h. Mapped by the zygote, its children and nobody else. */
#pragma GCC visibility push(default)
#include "shm/activity_abi.h"
#pragma GCC visibility pop

#include "shm/activity.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/slots.h"

#define PAGE  4096
#define TRIES 1000 /* of a reader whose writer is at it */

struct shm_activity {
	uint64_t sequence; /* of the loop's half */
	struct shm_activity_list list;
	uint64_t stall_sequence; /* of the watchdog's half */
	struct shm_activity_list stalled_list;
	struct shm_activity_stall stall;
} __attribute__((aligned(PAGE))); /* a seat's owner touches no page of another's */

static struct shm_activity *mapped; /* SHM_SEATS_MAX of them, or NULL */

size_t shm_activity_begin(size_t table)
{
	return (table + PAGE - 1) / PAGE * PAGE;
}

size_t shm_activity_size(void)
{
	return sizeof(struct shm_activity) * SHM_SEATS_MAX;
}

int shm_activity_map(int fd, size_t table, struct error *error)
{
	void *address = mmap(NULL, shm_activity_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		(off_t)shm_activity_begin(table));

	if (address == MAP_FAILED)
		return error_set_errno(error, "cannot map what processes are doing");
	mapped = address;
	return 0;
}

struct shm_activity *shm_activity_of(unsigned seat)
{
	return mapped == NULL || seat >= SHM_SEATS_MAX ? NULL : &mapped[seat];
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void begin(uint64_t *sequence)
{
	__atomic_store_n(sequence, *sequence | 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void end(uint64_t *sequence)
{
	__atomic_store_n(sequence, *sequence + 1, __ATOMIC_RELEASE);
}

static void copy_list(struct shm_activity_list *to, const struct shm_activity_list *from)
{
	memcpy(to, from,
		offsetof(struct shm_activity_list, requests) +
			from->count * sizeof from->requests[0]);
}

void shm_activity_write(struct shm_activity *activity, const struct shm_activity_list *list)
{
	begin(&activity->sequence);
	copy_list(&activity->list, list);
	end(&activity->sequence);
}

void shm_activity_write_stall(struct shm_activity *activity, const struct shm_activity_list *list,
	const struct shm_activity_stall *stall)
{
	begin(&activity->stall_sequence);
	if (stall != NULL) {
		copy_list(&activity->stalled_list, list);
		activity->stall = *stall;
	} else {
		activity->stall.since = 0;
	}
	end(&activity->stall_sequence);
}

void shm_activity_clear(struct shm_activity *activity)
{
	const struct shm_activity_list nothing = {0};

	shm_activity_write(activity, &nothing);
	shm_activity_write_stall(activity, NULL, NULL);
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* Copies `size` bytes as they were at one moment. */
static bool read_whole(const uint64_t *sequence, const void *from, void *to, size_t size)
{
	for (int i = 0; i < TRIES; i++) {
		uint64_t before = __atomic_load_n(sequence, __ATOMIC_ACQUIRE);

		if ((before & 1) != 0)
			continue;
		memcpy(to, from, size);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(sequence, __ATOMIC_RELAXED) == before)
			return true;
	}
	return false;
}

/* What another process wrote is believed no further than its bounds. */
static void bound(struct shm_activity_list *list)
{
	if (list->count > SHM_ACTIVITY_REQUESTS)
		list->count = SHM_ACTIVITY_REQUESTS;
	for (uint32_t i = 0; i < list->count; i++) {
		struct shm_activity_request *request = &list->requests[i];

		request->method[sizeof request->method - 1] = '\0';
		request->target[sizeof request->target - 1] = '\0';
		request->id[sizeof request->id - 1] = '\0';
		request->ip[sizeof request->ip - 1] = '\0';
	}
}

int shm_activity_stall(uint32_t seat, struct shm_activity_stall *into)
{
	const struct shm_activity *activity = shm_activity_of(seat);

	if (activity == NULL ||
		!read_whole(&activity->stall_sequence, &activity->stall, into, sizeof *into))
		return -1;
	into->where[sizeof into->where - 1] = '\0';
	into->stack[sizeof into->stack - 1] = '\0';
	return 0;
}

int shm_activity_requests(uint32_t seat, struct shm_activity_list *into)
{
	const struct shm_activity *activity = shm_activity_of(seat);
	bool stalled;
	bool whole;

	if (activity == NULL)
		return -1;
	stalled = __atomic_load_n(&activity->stall.since, __ATOMIC_RELAXED) != 0;
	if (stalled)
		whole = read_whole(
			&activity->stall_sequence, &activity->stalled_list, into, sizeof *into);
	else
		whole = read_whole(&activity->sequence, &activity->list, into, sizeof *into);
	if (whole)
		bound(into);
	return whole ? 0 : -1;
}
