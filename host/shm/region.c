/*
 * The region of shared objects: its memfd, its mapping in this process, its directory.
 * Runs in the zygote, which makes objects, and in the processes forked from it, which find them.
 */
#include "shm/region.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/last_error.h"

#pragma GCC visibility push(default)
#include "shm/shm_abi.h"
#pragma GCC visibility pop

#define REGION_MAGIC 0x3165656769726550ull /* "Perigee1", little endian */
#define REGION_ALIGN 64                    /* bytes; a cache line, so that objects share none */

/* One object. Written once by the zygote that makes it; constant afterwards. */
struct region_entry {
	char name[SHM_NAME_MAX];
	char kind[SHM_KIND_MAX];
	uint64_t offset; /* from the start of the region, a multiple of REGION_ALIGN */
	uint64_t size;   /* bytes */
};

/* The start of the region. A region whose magic is 0 is new. */
struct region_header {
	uint64_t magic;
	uint64_t used;     /* bytes from the start that belong to the header or an object */
	uint32_t count;    /* entries that are complete; stored last, with release order */
	uint32_t reserved; /* keeps the entries aligned */
	struct region_entry entries[SHM_OBJECTS_MAX];
};

/* What this process has mapped; a forked child inherits the mapping as it is. */
static struct {
	int fd;                       /* borrowed from who called shm_region_use; -1: none */
	struct region_header *header; /* NULL until first use */
	uint64_t size;                /* bytes mapped */
} region = {.fd = -1};

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
		region.header->used =
			(sizeof *region.header + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);
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

/* Fills the entry behind the last complete one; it stays unknown until it is published. */
static void *entry_make(const char *name, const char *kind, uint64_t size, struct error *error)
{
	struct region_header *header = region.header;
	struct region_entry *entry;
	uint64_t rounded = (size + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);

	if (header->count >= SHM_OBJECTS_MAX) {
		(void)error_set(error, ENOSPC,
			"shared object \"%s\": there are %d already, the most "
			"one application may have",
			name, SHM_OBJECTS_MAX);
		return NULL;
	}
	if (size > region.size || rounded > region.size - header->used) {
		(void)error_set(error, ENOSPC,
			"shared object \"%s\" takes %llu bytes; %llu of %llu are free: raise the "
			"setting shared_memory",
			name, (unsigned long long)size,
			(unsigned long long)(region.size - header->used),
			(unsigned long long)region.size);
		return NULL;
	}
	entry = &header->entries[header->count];
	memset(entry, 0, sizeof *entry);
	memcpy(entry->name, name, strlen(name));
	memcpy(entry->kind, kind, strlen(kind));
	entry->offset = header->used;
	entry->size = size;
	memset(entry_data(entry), 0, size); /* a zygote may have died in the middle of making one */
	return entry_data(entry);
}

static bool name_valid(const char *name)
{
	size_t size = strnlen(name, SHM_NAME_MAX);

	return size != 0 && size < SHM_NAME_MAX;
}

void *shm_region_open(const char *name, const char *kind, uint64_t size, int create, int *ret_new,
	struct error *error)
{
	const struct region_entry *entry;

	CHECK(strlen(kind) < SHM_KIND_MAX);
	*ret_new = 0;
	if (!name_valid(name)) {
		(void)error_set(error, EINVAL,
			"a shared object's name has 1 to %d bytes, not \"%.80s\"", SHM_NAME_MAX - 1,
			name);
		return NULL;
	}
	if (region_map(error) != 0)
		return NULL;
	entry = entry_find(name);
	if (entry == NULL) {
		void *made;

		if (!create) {
			(void)error_set(error, ENOENT,
				"there is no shared object \"%s\": make it in "
				"main_process_start",
				name);
			return NULL;
		}
		made = entry_make(name, kind, size, error);
		*ret_new = made != NULL;
		return made;
	}
	if (strncmp(entry->kind, kind, SHM_KIND_MAX) != 0 || entry->size != size) {
		(void)error_set(error, EEXIST,
			"shared object \"%s\" exists as %s of %llu bytes, not as %s of %llu", name,
			entry->kind, (unsigned long long)entry->size, kind,
			(unsigned long long)size);
		return NULL;
	}
	return entry_data(entry);
}

void shm_region_publish(const char *name)
{
	struct region_header *header = region.header;
	const struct region_entry *entry = &header->entries[header->count];
	uint64_t rounded = (entry->size + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);

	CHECK(strncmp(entry->name, name, SHM_NAME_MAX) == 0);
	header->used += rounded;
	__atomic_store_n(&header->count, header->count + 1, __ATOMIC_RELEASE);
}
