/* The slots table. Made by the manager, mapped by the manager (which reads) and its children. */
#include "shm/slots.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/activity.h"

struct shm_slots {
	struct shm_seat seats[SHM_SEATS_MAX];
};

_Static_assert(sizeof(struct shm_seat) % 64 == 0, "two seats share no cache line");

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
	return address;
}

int shm_slots_map_activity(int fd, struct error *error)
{
	return shm_activity_map(fd, sizeof(struct shm_slots), error);
}

struct shm_seat *shm_slots_seat(struct shm_slots *slots, unsigned index)
{
	CHECK(index < SHM_SEATS_MAX);
	return &slots->seats[index];
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
