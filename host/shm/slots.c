/* The slots table. Made by the manager, mapped by the manager and its children. */
#include "shm/slots.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/activity.h"
#include "shm/slots_table.h"

_Static_assert(sizeof(struct shm_seat) % 64 == 0, "two seats share no cache line");

/* Of this process; the readers' functions have no other way to it. */
static struct shm_slots *mapped;
static int own = -1;

int shm_slots_create(struct error *error)
{
	int fd = memfd_create("perigee-slots", MFD_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, "cannot make the slots table");
	if (ftruncate(fd, (off_t)(shm_activity_begin(sizeof(struct shm_slots)) +
				  shm_activity_size())) != 0) {
		(void)error_set_errno(error, "cannot size the slots table");
		fd_close(&fd);
	}
	return fd;
}

struct shm_slots *shm_slots_map(int fd, struct error *error)
{
	void *address =
		mmap(NULL, sizeof(struct shm_slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (address == MAP_FAILED) {
		(void)error_set_errno(error, "cannot map the slots table");
		return NULL;
	}
	mapped = address;
	return address;
}

int shm_slots_map_activity(int fd, struct error *error)
{
	return shm_activity_map(fd, sizeof(struct shm_slots), error);
}

void shm_slots_protect(struct shm_slots *slots)
{
	CHECK(mprotect(slots, sizeof slots->known, PROT_READ) == 0);
}

void shm_slots_take(struct shm_slots *slots, unsigned index)
{
	CHECK(index < SHM_SEATS_MAX && slots == mapped);
	own = (int)index;
	if (shm_activity_of(index) != NULL)
		shm_activity_clear(shm_activity_of(index));
}

struct shm_slots *shm_slots_mapped(void)
{
	return mapped;
}

int shm_state_own(void)
{
	return mapped == NULL ? -1 : own;
}

struct shm_seat *shm_slots_seat(struct shm_slots *slots, unsigned index)
{
	CHECK(index < SHM_SEATS_MAX);
	return &slots->seats[index];
}

/* --- what the manager writes ------------------------------------------------------------------ */

/* A sequence is odd while what it stands for is being written, by its one writer. */
static void begin_write(uint32_t *sequence)
{
	__atomic_store_n(sequence, *sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void end_write(uint32_t *sequence)
{
	__atomic_store_n(sequence, *sequence + 1, __ATOMIC_RELEASE);
}

void shm_slots_write(struct shm_slots *slots, unsigned index, const struct shm_process *process)
{
	struct shm_known *known = &slots->known.seats[index];

	CHECK(index < SHM_SEATS_MAX);
	begin_write(&known->sequence);
	known->process = *process;
	end_write(&known->sequence);
	if (slots->known.used <= index)
		__atomic_store_n(&slots->known.used, index + 1, __ATOMIC_RELEASE);
}

void shm_slots_retire(struct shm_slots *slots, unsigned index)
{
	struct shm_seat *seat = shm_slots_seat(slots, index);

	begin_write(&slots->known.totals_sequence);
	for (size_t i = 0; i < SHM_COUNTERS; i++) {
		slots->known.totals[i] += seat->counters[i];
		seat->counters[i] = 0;
	}
	end_write(&slots->known.totals_sequence);
}

/* --- the child's part ------------------------------------------------------------------------- */

int shm_state_set_keys(const char *block, size_t size)
{
	struct shm_seat *seat;

	if (shm_state_own() < 0 || size > SHM_KEYS_SIZE)
		return -1;
	seat = shm_slots_seat(mapped, (unsigned)own);
	begin_write(&seat->keys_sequence);
	seat->keys_size = (uint32_t)size;
	memcpy(seat->keys, block, size);
	end_write(&seat->keys_sequence);
	return 0;
}

/* Each word is whole; that they are of different moments does not matter to a mean. */
uint64_t shm_slots_mean(unsigned counter)
{
	const struct shm_slots *slots = mapped;
	const uint32_t used =
		slots != NULL ? __atomic_load_n(&slots->known.used, __ATOMIC_ACQUIRE) : 0;
	uint64_t sum = 0;
	uint64_t count = 0;

	CHECK(counter < SHM_COUNTERS);
	for (uint32_t i = 0; i < used && i < SHM_SEATS_MAX; i++) {
		if (!__atomic_load_n(&slots->known.seats[i].process.serving, __ATOMIC_RELAXED) ||
			!__atomic_load_n(&slots->known.seats[i].process.server, __ATOMIC_RELAXED))
			continue;
		sum += __atomic_load_n(&slots->seats[i].counters[counter], __ATOMIC_RELAXED);
		count++;
	}
	return count != 0 ? sum / count : UINT64_MAX;
}

void shm_seat_beat(struct shm_seat *seat, uint64_t now)
{
	__atomic_store_n(&seat->heartbeat, now, __ATOMIC_RELAXED);
}

uint64_t shm_seat_last_beat(const struct shm_seat *seat)
{
	return __atomic_load_n(&seat->heartbeat, __ATOMIC_RELAXED);
}

void shm_seat_watch(struct shm_seat *seat, uint64_t now)
{
	__atomic_store_n(&seat->watched, now, __ATOMIC_RELAXED);
}

uint64_t shm_seat_last_watch(const struct shm_seat *seat)
{
	return __atomic_load_n(&seat->watched, __ATOMIC_RELAXED);
}

void shm_seat_clear(struct shm_seat *seat, uint64_t now)
{
	memset(seat, 0, sizeof *seat);
	shm_seat_beat(seat, now);
}
