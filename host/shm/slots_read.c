/* Reading the slots table, out of Lua. In every process that has mapped it. */
#include <stdbool.h>
#include <string.h>

#include "shm/slots_table.h"

/* A writer needs some microseconds. One that was killed at it never ends, and one that is kept from
 * running may take long; so what cannot be had in so many looks is taken as it is. */
#define LOOKS_MAX 10000

static uint32_t begin_read(const uint32_t *sequence)
{
	return __atomic_load_n(sequence, __ATOMIC_ACQUIRE);
}

/* Whether nothing was written between begin_read, which returned `before`, and now. */
static bool end_read(const uint32_t *sequence, uint32_t before)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return before % 2 == 0 && __atomic_load_n(sequence, __ATOMIC_RELAXED) == before;
}

unsigned shm_state_seats(void)
{
	const struct shm_slots *slots = shm_slots_mapped();

	return slots == NULL ? 0 : __atomic_load_n(&slots->known.used, __ATOMIC_ACQUIRE);
}

static void read_process(const struct shm_known *known, struct shm_process *process)
{
	for (int look = 0; look < LOOKS_MAX; look++) {
		uint32_t before = begin_read(&known->sequence);

		*process = known->process;
		if (end_read(&known->sequence, before))
			break;
	}
	process->name[SHM_NAME_SIZE - 1] = '\0';
	process->last_error[SHM_ERROR_SIZE - 1] = '\0';
}

/* What a process was killed in the middle of writing is nobody's word: no keys then. */
static void read_keys(const struct shm_seat *seat, struct shm_row *row)
{
	for (int look = 0; look < LOOKS_MAX; look++) {
		uint32_t before = begin_read(&seat->keys_sequence);
		uint32_t size = seat->keys_size;

		if (size <= SHM_KEYS_SIZE) {
			memcpy(row->keys, seat->keys, size);
			row->keys_size = size;
		}
		if (end_read(&seat->keys_sequence, before) && size <= SHM_KEYS_SIZE)
			return;
	}
	row->keys_size = 0;
}

int shm_state_read(unsigned seat, struct shm_row *row)
{
	struct shm_slots *slots = shm_slots_mapped();

	if (seat >= shm_state_seats())
		return 0;
	read_process(&slots->known.seats[seat], &row->process);
	if (row->process.name[0] == '\0')
		return 0;
	memcpy(row->counters, slots->seats[seat].counters, sizeof row->counters);
	read_keys(&slots->seats[seat], row);
	return 1;
}

void shm_state_totals(uint64_t *totals)
{
	const struct shm_slots *slots = shm_slots_mapped();
	unsigned seats = shm_state_seats();

	memset(totals, 0, SHM_COUNTERS * sizeof *totals);
	for (int look = 0; slots != NULL && look < LOOKS_MAX; look++) {
		uint32_t before = begin_read(&slots->known.totals_sequence);

		memcpy(totals, slots->known.totals, SHM_COUNTERS * sizeof *totals);
		for (unsigned seat = 0; seat < seats; seat++) {
			for (size_t i = 0; i < SHM_COUNTERS; i++)
				totals[i] += slots->seats[seat].counters[i];
		}
		if (end_read(&slots->known.totals_sequence, before))
			return;
	}
}
