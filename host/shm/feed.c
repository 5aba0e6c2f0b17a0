/* The feed: rings and the bell; see feed.h. */
#include "shm/feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/slots.h"

#define RECORD_ALIGN 8

/*
 * Where a ring is at. Positions count bytes since the ring was first used and never go back, also
 * not when a seat gets a new process. 0 <= reserved - published <= one record.
 */
struct ring_head {
	uint64_t published; /* up to here records are complete; stored last, with release order */
	uint64_t reserved;  /* up to here the writer may have written */
	uint64_t count;     /* records begun */
	uint64_t filling[5];
};

struct record {
	uint32_t size; /* bytes with this header, a multiple of RECORD_ALIGN */
	uint32_t kind;
	uint32_t topic_size;
	uint32_t data_size;
	uint64_t number; /* count, this one included */
};

/* The memfd. */
struct feed_memory {
	uint64_t seats; /* one past the highest that ever wrote */
	uint64_t filling[7];
	struct ring_head heads[SHM_SEATS_MAX];
	char rings[SHM_SEATS_MAX][SHM_FEED_RING];
};

_Static_assert(sizeof(struct ring_head) == 64, "two heads share no cache line");
_Static_assert((SHM_FEED_RING & (SHM_FEED_RING - 1)) == 0, "positions wrap by a mask");
_Static_assert(SHM_FEED_MESSAGE_MAX <= SHM_FEED_RING / 2, "a reader has a chance");

struct place {
	uint64_t at;     /* the next record to be read */
	uint64_t number; /* the number it should have; 0: any */
};

struct shm_feed {
	struct feed_memory *memory;
	int bell;
	unsigned seat;
	unsigned reading; /* the seat whose ring is being read */
	uint64_t lost;
	struct place places[SHM_SEATS_MAX];
	char record[SHM_FEED_MESSAGE_MAX]; /* topic and data of the one read last */
};

int shm_feed_create(struct error *error)
{
	int fd = memfd_create("perigee-feed", MFD_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, "cannot make the feed");
	if (ftruncate(fd, sizeof(struct feed_memory)) != 0) {
		(void)error_set_errno(error, "cannot size the feed");
		fd_close(&fd);
	}
	return fd;
}

int shm_feed_create_bell(struct error *error)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd >= 0 ? fd : error_set_errno(error, "cannot make the feed's bell");
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Makes `seat` one of those that are looked at. */
static void raise_seats(struct feed_memory *memory, uint64_t seats)
{
	uint64_t before = load(&memory->seats);

	while (before < seats && !__atomic_compare_exchange_n(&memory->seats, &before, seats, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		continue;
}

struct shm_feed *shm_feed_join(int fd, int bell, unsigned seat, struct error *error)
{
	struct shm_feed *feed = calloc(1, sizeof *feed);
	void *address;

	CHECK(seat < SHM_SEATS_MAX);
	if (feed == NULL) {
		(void)error_set(error, ENOMEM, "the feed: memory is out");
		return NULL;
	}
	address = mmap(NULL, sizeof(struct feed_memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (address == MAP_FAILED) {
		(void)error_set_errno(error, "cannot map the feed");
		free(feed);
		return NULL;
	}
	(void)madvise(address, sizeof(struct feed_memory), MADV_DONTDUMP);
	feed->memory = address;
	feed->bell = bell;
	feed->seat = seat;
	raise_seats(feed->memory, (uint64_t)seat + 1);
	for (unsigned i = 0; i < SHM_SEATS_MAX; i++)
		feed->places[i].at = load(&feed->memory->heads[i].published);
	return feed;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void put(char *ring, uint64_t at, const void *data, size_t size)
{
	size_t offset = at & (SHM_FEED_RING - 1);
	size_t first = size < SHM_FEED_RING - offset ? size : SHM_FEED_RING - offset;

	if (size == 0)
		return;
	memcpy(ring + offset, data, first);
	memcpy(ring, (const char *)data + first, size - first);
}

int shm_feed_write(struct shm_feed *feed, const struct shm_feed_message *message)
{
	struct ring_head *head = &feed->memory->heads[feed->seat];
	char *ring = feed->memory->rings[feed->seat];
	struct record record = {.kind = message->kind};
	uint64_t at = head->published;
	uint64_t one = 1;

	if (message->topic.size > SHM_FEED_MESSAGE_MAX ||
		message->data.size > SHM_FEED_MESSAGE_MAX - message->topic.size)
		return -1;
	record.topic_size = (uint32_t)message->topic.size;
	record.data_size = (uint32_t)message->data.size;
	record.size = (uint32_t)((sizeof record + message->topic.size + message->data.size +
					 RECORD_ALIGN - 1) &
				 ~(size_t)(RECORD_ALIGN - 1));
	record.number = head->count + 1;
	__atomic_store_n(&head->count, record.number, __ATOMIC_RELAXED);
	/* A predecessor killed in the middle may have reserved more than we do. */
	if (head->reserved < at + record.size)
		__atomic_store_n(&head->reserved, at + record.size, __ATOMIC_RELAXED);
	/* Who sees a byte of what follows sees what was reserved for it. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	put(ring, at, &record, sizeof record);
	put(ring, at + sizeof record, message->topic.data, message->topic.size);
	put(ring, at + sizeof record + message->topic.size, message->data.data, message->data.size);
	__atomic_store_n(&head->published, at + record.size, __ATOMIC_RELEASE);
	(void)!write(feed->bell, &one, sizeof one); /* fails after 2^64 messages */
	return 0;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void get(const char *ring, uint64_t at, void *data, size_t size)
{
	size_t offset = at & (SHM_FEED_RING - 1);
	size_t first = size < SHM_FEED_RING - offset ? size : SHM_FEED_RING - offset;

	memcpy(data, ring + offset, first);
	memcpy((char *)data + first, ring, size - first);
}

/* Whether what lies at `at` may have been overwritten by now. */
static bool overtaken(const struct ring_head *head, uint64_t at)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&head->reserved, __ATOMIC_RELAXED) - at > SHM_FEED_RING;
}

/* Copies the record at `at`. Returns false when there is none that makes sense. */
static bool copy(struct shm_feed *feed, unsigned seat, uint64_t at, uint64_t end,
	struct record *record, struct shm_feed_message *message)
{
	const struct ring_head *head = &feed->memory->heads[seat];
	const char *ring = feed->memory->rings[seat];
	uint64_t size;

	if (overtaken(head, at))
		return false;
	get(ring, at, record, sizeof *record);
	size = (uint64_t)record->topic_size + record->data_size;
	/* Overwritten meanwhile, or by a bug of the application's: memory here is everybody's. */
	if (size > SHM_FEED_MESSAGE_MAX || record->size < sizeof *record + size ||
		record->size % RECORD_ALIGN != 0 || record->size > end - at)
		return false;
	get(ring, at + sizeof *record, feed->record, (size_t)size);
	message->kind = record->kind;
	message->topic = (struct slice){.data = feed->record, .size = record->topic_size};
	message->data = (struct slice){
		.data = feed->record + record->topic_size, .size = record->data_size};
	return !overtaken(head, at);
}

/* The next message of one ring. */
static bool read_ring(struct shm_feed *feed, unsigned seat, struct shm_feed_message *message)
{
	struct place *place = &feed->places[seat];
	uint64_t end = load(&feed->memory->heads[seat].published);
	struct record record;

	if (place->at == end)
		return false;
	if (!copy(feed, seat, place->at, end, &record, message)) {
		place->at = end; /* how many were lost, the next one's number tells */
		return false;
	}
	if (place->number != 0 && record.number > place->number)
		feed->lost += record.number - place->number;
	place->number = record.number + 1;
	place->at += record.size;
	return true;
}

bool shm_feed_read(struct shm_feed *feed, struct shm_feed_message *message)
{
	uint64_t seats = load(&feed->memory->seats);

	if (seats > SHM_SEATS_MAX)
		seats = SHM_SEATS_MAX;
	for (; feed->reading < seats; feed->reading++)
		if (feed->reading != feed->seat && read_ring(feed, feed->reading, message))
			return true;
	feed->reading = 0;
	return false;
}

uint64_t shm_feed_lost(const struct shm_feed *feed)
{
	return feed->lost;
}
