/* The tail of the log: see tail.h. */
#pragma GCC visibility push(default)
#include "shm/tail_abi.h"
#pragma GCC visibility pop

#include "shm/tail.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"

/* The memfd. Positions count bytes since it was made and never go back. */
struct shm_tail {
	uint64_t published; /* up to here the text is there; stored last, with release order */
	uint64_t reserved;  /* up to here it may be being written */
	char ring[SHM_TAIL_RING];
};

static struct {
	int fd;
	const struct shm_tail *tail;
} reader = {.fd = -1};

int shm_tail_create(struct error *error)
{
	int fd = memfd_create("perigee-tail", MFD_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, "cannot make the tail of the log");
	if (ftruncate(fd, sizeof(struct shm_tail)) != 0) {
		(void)error_set_errno(error, "cannot size the tail of the log");
		fd_close(&fd);
	}
	return fd;
}

struct shm_tail *shm_tail_open(int fd, struct error *error)
{
	void *address =
		mmap(NULL, sizeof(struct shm_tail), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (address != MAP_FAILED)
		return address;
	(void)error_set_errno(error, "cannot map the tail of the log");
	return NULL;
}

void shm_tail_write(struct shm_tail *tail, const char *text, size_t size)
{
	uint64_t at = tail->published;
	size_t offset = at % SHM_TAIL_RING;
	size_t first = size < SHM_TAIL_RING - offset ? size : SHM_TAIL_RING - offset;

	CHECK(size <= SHM_TAIL_RING);
	__atomic_store_n(&tail->reserved, at + size, __ATOMIC_RELAXED);
	/* Who sees a byte of what follows sees what was reserved for it. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(tail->ring + offset, text, first);
	memcpy(tail->ring, text + first, size - first);
	__atomic_store_n(&tail->published, at + size, __ATOMIC_RELEASE);
}

void shm_tail_use(int fd)
{
	reader.fd = fd;
}

static bool can_read(void)
{
	void *address;

	if (reader.tail != NULL)
		return true;
	if (reader.fd < 0)
		return false;
	address = mmap(NULL, sizeof(struct shm_tail), PROT_READ, MAP_SHARED, reader.fd, 0);
	if (address == MAP_FAILED)
		return false;
	reader.tail = address;
	return true;
}

uint64_t shm_tail_end(void)
{
	return can_read() ? __atomic_load_n(&reader.tail->published, __ATOMIC_ACQUIRE) : 0;
}

/* The first byte that is not overwritten and will not be before the next write. */
static uint64_t oldest(const struct shm_tail *tail)
{
	uint64_t reserved = __atomic_load_n(&tail->reserved, __ATOMIC_RELAXED);

	return reserved > SHM_TAIL_RING ? reserved - SHM_TAIL_RING : 0;
}

size_t shm_tail_read(uint64_t *position, char *text, size_t size)
{
	uint64_t end = shm_tail_end();

	while (end != 0 && *position < end) {
		const struct shm_tail *tail = reader.tail;
		uint64_t at = *position > oldest(tail) ? *position : oldest(tail);
		size_t count = end - at < size ? (size_t)(end - at) : size;
		size_t offset = at % SHM_TAIL_RING;
		size_t first = count < SHM_TAIL_RING - offset ? count : SHM_TAIL_RING - offset;

		memcpy(text, tail->ring + offset, first);
		memcpy(text + first, tail->ring, count - first);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (oldest(tail) > at) {
			*position = oldest(tail); /* overtaken: what was copied may be mixed */
			end = shm_tail_end();
			continue;
		}
		*position = at + count;
		return count;
	}
	return 0;
}
