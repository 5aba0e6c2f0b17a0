/* The cache of open files and of small files' contents. Owned by a server; used by workers. */
#include "http/file_cache.h"

#include <errno.h>
#include <stdlib.h>

#include "http/http_abi.h"
#include "http/mime.h"
#include "http/server.h"

#define BUCKETS 4096
#define ENTRY_COST                                                                                 \
	1024 /* bytes an entry counts for besides its content, so that empty ones count */
#define SIBLING_PATH_MAX (HTTP_FILE_PATH_MAX + 4)
#define STALE_AFTER      10 /* s that a precompressed file may be older than what it was made of */

static const char *const suffixes[HTTP_CODINGS] = {
	[HTTP_CODING_BROTLI] = ".br",
	[HTTP_CODING_GZIP] = ".gz",
	[HTTP_CODING_IDENTITY] = "",
};

static int set_up(struct http_file_cache *cache)
{
	cache->buckets = calloc(BUCKETS, sizeof(struct http_file_entry *));
	if (cache->buckets == NULL)
		return -1;
	cache->bucket_mask = BUCKETS - 1;
	list_init(&cache->memory);
	list_init(&cache->open);
	return 0;
}

/* FNV-1a; the root's address sets apart what has the same name in two of them. */
static uint32_t hash_of(const struct http_file_root *root, struct slice path)
{
	uint32_t hash = 2166136261u ^ (uint32_t)((uintptr_t)root >> 4);

	for (size_t i = 0; i < path.size; i++)
		hash = (hash ^ (unsigned char)path.data[i]) * 16777619u;
	return hash ^ hash >> 15;
}

static struct http_file_entry *find(const struct http_file_cache *cache, uint32_t hash,
	const struct http_file_root *root, struct slice path)
{
	struct http_file_entry *entry = cache->buckets[hash & cache->bucket_mask];

	while (entry != NULL &&
		(entry->hash != hash || entry->root != root || entry->path_size != path.size ||
			memcmp(entry->path, path.data, path.size) != 0))
		entry = entry->next;
	return entry;
}

/* ---- Entries ------------------------------------------------------------------------------- */

static void entry_free(struct http_file_entry *entry)
{
	for (int i = 0; i < HTTP_CODINGS; i++)
		http_file_release(entry->files[i]);
	free(entry);
}

void http_file_cache_drop(struct http_file_cache *cache, struct http_file_entry *entry)
{
	struct http_file_entry **at = &cache->buckets[entry->hash & cache->bucket_mask];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	list_remove(&entry->link);
	cache->cost -= entry->cost;
	cache->open_count -= entry->is_open;
	entry_free(entry);
}

static void drop_oldest(struct http_file_cache *cache, struct list *entries)
{
	/* What is freed is out of the list, which the analyzer cannot follow. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	http_file_cache_drop(cache, LIST_ENTRY(entries->next, struct http_file_entry, link));
}

static void add(struct http_file_cache *cache, const struct http_config *config,
	struct http_file_entry *entry)
{
	struct http_file_entry **bucket = &cache->buckets[entry->hash & cache->bucket_mask];

	while (cache->cost + entry->cost > config->file_cache_memory && !list_empty(&cache->memory))
		drop_oldest(cache, &cache->memory);
	while (entry->is_open && cache->open_count >= config->file_cache_open &&
		!list_empty(&cache->open))
		drop_oldest(cache, &cache->open);
	entry->next = *bucket;
	*bucket = entry;
	list_append(entry->is_open ? &cache->open : &cache->memory, &entry->link);
	cache->cost += entry->cost;
	cache->open_count += entry->is_open;
}

static void sibling_path(
	const struct http_file_entry *entry, int coding, char ret_path[SIBLING_PATH_MAX])
{
	memcpy(ret_path, entry->path, entry->path_size);
	memcpy(ret_path + entry->path_size, suffixes[coding], strlen(suffixes[coding]) + 1);
}

/* Opens "path.gz" and so on. One that is missing, or older than what it was made of, is none. */
static void open_siblings(
	struct http_file_entry *entry, const struct http_file *plain, uint64_t memory_limit)
{
	char path[SIBLING_PATH_MAX];

	if ((http_file_root_flags(entry->root) & HTTP_FILE_PRECOMPRESSED) == 0)
		return;
	for (int i = 0; i < HTTP_CODING_IDENTITY; i++) {
		struct http_file *file;

		sibling_path(entry, i, path);
		if (http_file_open(&file, entry->root, path, memory_limit) != HTTP_OK)
			continue;
		if (file->stat.st_mtim.tv_sec + STALE_AFTER < plain->stat.st_mtim.tv_sec) {
			http_file_release(file);
			continue;
		}
		entry->files[i] = file;
		entry->codings |= 1u << i;
	}
}

static void describe(struct http_file_entry *entry)
{
	struct slice path = {.data = entry->path, .size = entry->path_size};
	struct slice type = http_mime_type(path);
	bool varies = entry->codings != 1u << HTTP_CODING_IDENTITY;

	entry->cost = ENTRY_COST + entry->path_size;
	for (int i = 0; i < HTTP_CODINGS; i++) {
		struct http_file *file = entry->files[i];

		if (file == NULL)
			continue;
		http_file_describe(file, type, (enum http_coding)i, varies);
		entry->is_open = entry->is_open || file->fd >= 0;
		entry->cost += file->data == NULL ? 0 : file->size;
	}
}

static int load(struct http_file_entry *entry, const struct http_config *config)
{
	uint64_t limit = config->file_memory_limit;
	struct http_file *plain;
	int result;

	if (limit > config->file_cache_memory)
		limit = config->file_cache_memory;
	result = http_file_open(&plain, entry->root, entry->path, limit);
	if (result != HTTP_OK)
		return result;
	entry->codings = 1u << HTTP_CODING_IDENTITY;
	entry->files[HTTP_CODING_IDENTITY] = plain;
	open_siblings(entry, plain, limit);
	describe(entry);
	return HTTP_OK;
}

static int entry_new(struct http_file_entry **ret_entry, const struct http_config *config,
	struct http_file_root *root, struct slice path, uint32_t hash)
{
	struct http_file_entry *entry = calloc(1, sizeof *entry + path.size + 1);
	int result;

	if (entry == NULL)
		return HTTP_FILE_FAILED;
	list_init(&entry->link);
	entry->root = root;
	entry->hash = hash;
	entry->path_size = (uint32_t)path.size;
	memcpy(entry->path, path.data, path.size);
	result = load(entry, config);
	if (result != HTTP_OK)
		entry_free(entry);
	else
		*ret_entry = entry;
	return result;
}

/* Whether an entry still says what the file system does. */
static bool is_current(const struct http_file_entry *entry)
{
	bool siblings = (http_file_root_flags(entry->root) & HTTP_FILE_PRECOMPRESSED) != 0;
	char path[SIBLING_PATH_MAX];

	for (int i = 0; i < HTTP_CODINGS; i++) {
		if (entry->files[i] == NULL && !siblings)
			continue;
		sibling_path(entry, i, path);
		if (entry->files[i] != NULL
				? !http_file_is_current(entry->files[i], entry->root, path)
				: http_file_exists(entry->root, path))
			return false;
	}
	return true;
}

/* ---- Using it ------------------------------------------------------------------------------ */

int http_file_cache_get(struct http_file_cache *cache, const struct http_config *config,
	uint64_t now, struct http_file_root *root, struct slice path,
	struct http_file_entry **ret_entry)
{
	uint32_t hash = hash_of(root, path);
	struct http_file_entry *entry;
	int result;

	if (cache->buckets == NULL && set_up(cache) != 0)
		return HTTP_FILE_FAILED;
	entry = find(cache, hash, root, path);
	if (entry != NULL && now - entry->checked >= config->file_cache_time) {
		entry->checked = now;
		if (!is_current(entry)) {
			http_file_cache_drop(cache, entry);
			entry = NULL;
		}
	}
	if (entry == NULL) {
		if (!http_file_root_allows(root, path))
			return HTTP_FILE_MISSING;
		result = entry_new(&entry, config, root, path, hash);
		if (result == HTTP_FILE_FAILED && (errno == EMFILE || errno == ENFILE)) {
			/* The descriptors are better used for this one, and for clients. */
			while (!list_empty(&cache->open))
				drop_oldest(cache, &cache->open);
			result = entry_new(&entry, config, root, path, hash);
		}
		if (result != HTTP_OK)
			return result;
		entry->checked = now;
		add(cache, config, entry);
	} else {
		list_remove(&entry->link);
		list_append(entry->is_open ? &cache->open : &cache->memory, &entry->link);
	}
	*ret_entry = entry;
	return HTTP_OK;
}

void http_file_cache_free(struct http_file_cache *cache)
{
	if (cache->buckets == NULL)
		return;
	while (!list_empty(&cache->memory))
		drop_oldest(cache, &cache->memory);
	while (!list_empty(&cache->open))
		drop_oldest(cache, &cache->open);
	free(cache->buckets);
	cache->buckets = NULL;
}
