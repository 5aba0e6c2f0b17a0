/*
 * The files a server has open or in memory, by root and path.
 *
 * An entry is believed for file_cache_time and then compared with the file system, so a file that
 * is replaced or changed is served anew after that time at most. What was not used for longest goes
 * when there is too much: of those in memory by bytes, of those open by number.
 */
#ifndef PERIGEE_HTTP_FILE_CACHE_H
#define PERIGEE_HTTP_FILE_CACHE_H

#include "base/list.h"
#include "http/file.h"

struct http_config;

/* What a path of a root leads to, with its precompressed siblings. */
struct http_file_entry {
	struct list link;             /* in the cache's `memory` or `open` */
	struct http_file_entry *next; /* in its bucket */
	struct http_file_root *root;
	uint64_t checked; /* loop time when it was last compared with the file system, ms */
	uint64_t cost;    /* bytes of memory it counts for */
	struct http_file *files[HTTP_CODINGS]; /* identity is always there */
	unsigned codings;                      /* bits of those that are */
	bool is_open;                          /* one of them has a descriptor */
	uint32_t hash;
	uint32_t path_size;
	char path[]; /* with a NUL */
};

/* A zeroed struct is an empty cache. */
struct http_file_cache {
	struct http_file_entry **buckets; /* NULL until it is first used */
	uint32_t bucket_mask;
	struct list memory; /* entries without a descriptor, longest unused first */
	struct list open;   /* those with one, likewise */
	uint64_t cost;      /* bytes of all */
	uint32_t open_count;
};

/*
 * The entry for a path, current to within file_cache_time; `now` is loop time, ms. It is valid
 * until the cache is next used; what it holds, as long as it is retained. Returns HTTP_OK with
 * *ret_entry, or one of enum http_file_result.
 */
int http_file_cache_get(struct http_file_cache *cache, const struct http_config *config,
	uint64_t now, struct http_file_root *root, struct slice path,
	struct http_file_entry **ret_entry);

/* Drops an entry that was found to be out of date. */
void http_file_cache_drop(struct http_file_cache *cache, struct http_file_entry *entry);

void http_file_cache_free(struct http_file_cache *cache);

#endif
