/*
 * The region of shared objects: its memfd, its mapping in this process, its directory.
 * Runs in the zygote, which makes objects, and in the processes forked from it, which find them.
 */
#include "shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/last_error.h"
#include "shm/member.h"

#pragma GCC visibility push(default)
#include "shm/shm_abi.h"
#pragma GCC visibility pop

#define REGION_MAGIC 0x3365656769726550ull /* "Perigee3", little endian */
#define REGION_ALIGN 64                    /* bytes; a cache line, so that objects share none */

/* One object. Written once by the zygote that makes it; constant afterwards. */
struct region_entry {
	char name[SHM_NAME_MAX];
	char kind[SHM_KIND_MAX];
	char shape[SHM_SHAPE_MAX];
	uint64_t offset; /* from the start of the region, a multiple of REGION_ALIGN */
	uint64_t size;   /* bytes */
	uint64_t empty; /* 1: what it is to have at first is not in it yet; see shm_region_filled */
};

/* The start of the region. A region whose magic is 0 is new. */
struct region_header {
	uint64_t magic;
	uint64_t used;     /* bytes from the start that belong to the header or an object */
	uint32_t count;    /* entries that are complete; stored last, with release order */
	uint32_t reserved; /* keeps the entries aligned */
	uint64_t members[SHM_MEMBERS_MAX];
	struct region_entry entries[SHM_OBJECTS_MAX];
};

/* What this process has mapped; a forked child inherits the mapping as it is. */
static struct {
	int fd;                       /* borrowed from who called shm_region_use; -1: none */
	struct region_header *header; /* NULL until first use */
	uint64_t size;                /* bytes mapped */
	int make_empty;               /* what is made next is to be filled */
} region = {.fd = -1};

static uint64_t round_up(uint64_t size)
{
	return (size + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);
}

int shm_region_create(uint64_t size, struct error *error)
{
	int fd = memfd_create("perigee-shared", MFD_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, "cannot make the shared memory");
	if (ftruncate(fd, (off_t)size) != 0) {
		(void)error_set_errno(error, "cannot reserve %llu bytes of shared memory",
			(unsigned long long)size);
		fd_close(&fd);
	}
	return fd;
}

void shm_region_use(int fd)
{
	CHECK(region.header == NULL);
	region.fd = fd;
}

int shm_region_fd(void)
{
	return region.fd;
}

int shm_region_private(void)
{
	struct error error;

	if (region.fd < 0)
		region.fd = shm_region_create(SHM_REGION_DEFAULT, &error);
	return region.fd >= 0 ? 0 : shm_fail(-1, &error);
}

static int region_map(struct error *error)
{
	struct stat status;
	void *address;

	if (region.header != NULL)
		return 0;
	if (region.fd < 0)
		return error_set(error, ENODEV,
			"this process has no shared memory: it does not "
			"run under `perigee serve`");
	if (fstat(region.fd, &status) != 0)
		return error_set_errno(error, "cannot see the shared memory");
	if ((uint64_t)status.st_size < sizeof(struct region_header))
		return error_set(error, ENOSPC,
			"shared_memory is %llu bytes; the directory alone takes %zu",
			(unsigned long long)status.st_size, sizeof(struct region_header));
	address = mmap(
		NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
	if (address == MAP_FAILED)
		return error_set_errno(error, "cannot map the shared memory");
	region.header = address;
	region.size = (uint64_t)status.st_size;
	if (region.header->magic == 0) {
		region.header->used = round_up(sizeof *region.header);
		region.header->magic = REGION_MAGIC;
	}
	if (region.header->magic != REGION_MAGIC)
		return error_set(error, EPROTO,
			"the shared memory was laid out by another version of Perigee: restart it");
	return 0;
}

int shm_region_reserve(uint64_t size)
{
	struct error error;
	struct stat status;

	if (region.fd < 0 || fstat(region.fd, &status) != 0)
		return 0; /* no region here: `perigee check` and the like */
	if ((uint64_t)status.st_size >= size)
		return 0;
	if (region.header != NULL)
		return shm_fail(error_set(&error, EBUSY,
					"shared_memory cannot grow once an object is open"),
			&error);
	if (ftruncate(region.fd, (off_t)size) != 0)
		return shm_fail(
			error_set_errno(&error, "cannot reserve %llu bytes of shared memory",
				(unsigned long long)size),
			&error);
	return 0;
}

static struct region_entry *entry_find(const char *name)
{
	uint32_t count = __atomic_load_n(&region.header->count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count && i < SHM_OBJECTS_MAX; i++) {
		if (strncmp(region.header->entries[i].name, name, SHM_NAME_MAX) == 0)
			return &region.header->entries[i];
	}
	return NULL;
}

static void *entry_data(const struct region_entry *entry)
{
	return (char *)region.header + entry->offset;
}

/* Zeroes what a zygote that died in the middle of making an object may have left; what was never
 * touched stays untouched, and costs no memory. */
static void clear(char *data, uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t start = (uint64_t)(data - (char *)region.header);
	uint64_t first = (start + page - 1) / page * page;
	uint64_t last = (start + size) / page * page;

	if (first >= last) {
		memset(data, 0, size);
		return;
	}
	memset(data, 0, first - start);
	memset(data + (last - start), 0, start + size - last);
	if (fallocate(region.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first,
		    (off_t)(last - first)) != 0)
		memset(data + (first - start), 0, last - first);
}

/* Fills the entry behind the last complete one; it stays unknown until it is published. */
static void *entry_make(const struct shm_want *want, struct error *error)
{
	struct region_header *header = region.header;
	struct region_entry *entry;

	if (header->count >= SHM_OBJECTS_MAX) {
		(void)error_set(error, ENOSPC,
			"shared object \"%s\": there are %d already, the most "
			"one application may have",
			want->name, SHM_OBJECTS_MAX);
		return NULL;
	}
	if (want->size > region.size || round_up(want->size) > region.size - header->used) {
		(void)error_set(error, ENOSPC,
			"shared object \"%s\" takes %llu bytes; %llu of %llu are free: raise the "
			"setting shared_memory",
			want->name, (unsigned long long)want->size,
			(unsigned long long)(region.size - header->used),
			(unsigned long long)region.size);
		return NULL;
	}
	entry = &header->entries[header->count];
	memset(entry, 0, sizeof *entry);
	memcpy(entry->name, want->name, strlen(want->name));
	memcpy(entry->kind, want->kind, strlen(want->kind));
	memcpy(entry->shape, want->shape, strlen(want->shape));
	entry->offset = header->used;
	entry->size = want->size;
	entry->empty = region.make_empty != 0;
	clear(entry_data(entry), round_up(want->size));
	return entry_data(entry);
}

static bool name_valid(const char *name)
{
	size_t size = strnlen(name, SHM_NAME_MAX);

	return size != 0 && size < SHM_NAME_MAX;
}

/* The entry of `name` if there is one. Returns 0, or -1 with *error when nothing can be looked up.
 */
static int look_up(const char *name, const struct region_entry **ret_entry, struct error *error)
{
	if (!name_valid(name))
		return error_set(error, EINVAL,
			"a shared object's name has 1 to %d bytes, not \"%.80s\"", SHM_NAME_MAX - 1,
			name);
	if (region_map(error) != 0)
		return -1;
	*ret_entry = entry_find(name);
	return 0;
}

void *shm_region_make(const struct shm_want *want, int *ret_new, struct error *error)
{
	const struct region_entry *entry = NULL;
	void *made;

	CHECK(strlen(want->kind) < SHM_KIND_MAX && strlen(want->shape) < SHM_SHAPE_MAX);
	*ret_new = 0;
	if (look_up(want->name, &entry, error) != 0)
		return NULL;
	if (entry == NULL) {
		made = entry_make(want, error);
		*ret_new = made != NULL;
		return made;
	}
	if (strncmp(entry->kind, want->kind, SHM_KIND_MAX) == 0 &&
		strncmp(entry->shape, want->shape, SHM_SHAPE_MAX) == 0 && entry->size == want->size)
		return entry_data(entry);
	(void)error_set(error, EEXIST,
		"shared object \"%s\" exists as %s of %s, not as %s of %s: give it another name, "
		"or restart",
		want->name, entry->kind, entry->shape, want->kind, want->shape);
	return NULL;
}

void *shm_region_find(const char *name, const char *kind, const char *shape, uint64_t *ret_size,
	struct error *error)
{
	const struct region_entry *entry = NULL;

	if (look_up(name, &entry, error) != 0)
		return NULL;
	if (entry == NULL) {
		(void)error_set(error, ENOENT,
			"there is no shared object \"%s\": make it in main_process_start", name);
		return NULL;
	}
	if (strncmp(entry->kind, kind, SHM_KIND_MAX) != 0 ||
		(shape != NULL && strncmp(entry->shape, shape, SHM_SHAPE_MAX) != 0)) {
		(void)error_set(error, EEXIST,
			"shared object \"%s\" exists as %s of %s, not as %s%s%s", name, entry->kind,
			entry->shape, kind, shape != NULL ? " of " : "",
			shape != NULL ? shape : "");
		return NULL;
	}
	if (ret_size != NULL)
		*ret_size = entry->size;
	return entry_data(entry);
}

void *shm_region_open(const struct shm_want *want, int create, int *ret_new)
{
	struct error error;
	void *object;
	int is_new = 0;

	object = create ? shm_region_make(want, &is_new, &error)
			: shm_region_find(want->name, want->kind, want->shape, NULL, &error);
	if (object == NULL)
		(void)shm_fail(-1, &error);
	if (is_new && ret_new == NULL)
		shm_region_publish(want->name);
	if (ret_new != NULL)
		*ret_new = is_new;
	return object;
}

uint64_t *shm_region_members(struct error *error)
{
	return region_map(error) == 0 ? region.header->members : NULL;
}

int shm_region_stat(struct shm_region_stat *stat)
{
	struct error error;

	if (region_map(&error) != 0)
		return shm_fail(-1, &error);
	stat->size = region.size;
	stat->used = region.header->used;
	stat->objects = __atomic_load_n(&region.header->count, __ATOMIC_ACQUIRE);
	return 0;
}

int shm_region_object(uint32_t index, struct shm_region_object *object)
{
	const struct region_entry *entry = &region.header->entries[index];

	if (index >= __atomic_load_n(&region.header->count, __ATOMIC_ACQUIRE) ||
		index >= SHM_OBJECTS_MAX)
		return -1;
	object->name = entry->name;
	object->kind = entry->kind;
	object->shape = entry->shape;
	object->size = entry->size;
	return 0;
}

void shm_region_make_empty(int yes)
{
	region.make_empty = yes;
}

int shm_region_is_empty(const char *name)
{
	const struct region_entry *entry = region.header != NULL ? entry_find(name) : NULL;

	return entry != NULL && entry->empty != 0;
}

void shm_region_filled(const char *name)
{
	struct region_entry *entry = region.header != NULL ? entry_find(name) : NULL;

	if (entry != NULL)
		__atomic_store_n(&entry->empty, 0, __ATOMIC_RELEASE);
}

void *shm_region_any(const char *name, const char *kind)
{
	struct error error;
	void *object = shm_region_find(name, kind, NULL, NULL, &error);

	if (object == NULL)
		(void)shm_fail(-1, &error);
	return object;
}

void shm_region_publish(const char *name)
{
	struct region_header *header = region.header;
	const struct region_entry *entry = &header->entries[header->count];

	CHECK(strncmp(entry->name, name, SHM_NAME_MAX) == 0);
	header->used += round_up(entry->size);
	__atomic_store_n(&header->count, header->count + 1, __ATOMIC_RELEASE);
}
