/*
 * Shared dicts as Lua sees them, through LuaJIT's FFI.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_DICT_ABI_H
#define PERIGEE_SHM_DICT_ABI_H

#include <stddef.h>
#include <stdint.h>

enum {
	SHM_DICT_KEY_MAX = 4096,     /* bytes of a key */
	SHM_DICT_VALUE_MAX = 262144, /* bytes of a value */
	SHM_DICT_LEAST = 65536,      /* bytes of a dict */
};

enum shm_dict_type {
	SHM_DICT_NUMBER = 1, /* a double */
	SHM_DICT_INTEGER,    /* an int64 */
	SHM_DICT_BOOLEAN,
	SHM_DICT_STRING,
	SHM_DICT_TABLE, /* as JSON */
	SHM_DICT_LIST,
};

/* What operations return besides: good news is positive. */
enum shm_dict_result {
	SHM_DICT_DONE = 100,
	SHM_DICT_NONE = 0,     /* there is no such entry */
	SHM_DICT_EXISTS = -1,  /* there is one already */
	SHM_DICT_CHANGED = -2, /* it is of another version */
	SHM_DICT_FULL = -3,
	SHM_DICT_TOO_BIG = -4, /* more than SHM_DICT_VALUE_MAX, or than the whole dict */
	SHM_DICT_BAD_KEY = -5, /* empty, or more than SHM_DICT_KEY_MAX */
	SHM_DICT_WRONG_TYPE = -6,
};

/* How an entry is stored: one of these, or the version it must have. */
enum {
	SHM_DICT_SET = 0,
	SHM_DICT_ADD = -1,     /* only when there is none */
	SHM_DICT_REPLACE = -2, /* only when there is one */
};

/* What was found. Its bytes last until the next call of this process. */
struct shm_dict_found {
	const char *data;
	uint64_t size; /* bytes */
	double number; /* a double; a boolean as 0 or 1 */
	int64_t integer;
	double ttl;      /* seconds that are left; -1: for ever */
	int64_t version; /* above 0; another one after each change */
};

struct shm_dict;

/*
 * The dict `name`, made when it does not exist yet and `create` is 1: of `size` bytes in all; when
 * it is full it evicts what was not used lately, or refuses. NULL when it cannot be had
 * (shm_last_error).
 */
struct shm_dict *shm_dict_open(const char *name, uint64_t size, int evicts, int create);

/* The value of a key: enum shm_dict_type, SHM_DICT_NONE or a problem. Of a list only the rest is
 * filled in. `get` counts as a use, `look` does not. */
int shm_dict_get(
	struct shm_dict *dict, const char *key, size_t key_size, struct shm_dict_found *found);
int shm_dict_look(
	struct shm_dict *dict, const char *key, size_t key_size, struct shm_dict_found *found);

/* Stores a value. ttl: seconds; 0 for ever; below 0 as it was. */
int shm_dict_set_number(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	double number, double ttl);
int shm_dict_set_integer(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	int64_t integer, double ttl);
int shm_dict_set_boolean(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	int value, double ttl);
int shm_dict_set_bytes(struct shm_dict *dict, const char *key, size_t key_size, int64_t how,
	int type, const char *data, size_t size, double ttl);

/* Adds to a number, or makes one of `initial` plus that, which lives for ttl seconds (0: for ever).
 * The new number is in *found; returns its type, or a problem. A double that is whole may be added
 * to an integer; anything may be added to a double. */
int shm_dict_add_number(struct shm_dict *dict, const char *key, size_t key_size, double by,
	double initial, double ttl, struct shm_dict_found *found);
int shm_dict_add_integer(struct shm_dict *dict, const char *key, size_t key_size, int64_t by,
	int64_t initial, double ttl, struct shm_dict_found *found);

/* Removes an entry, of any version when that is 0. */
int shm_dict_delete(struct shm_dict *dict, const char *key, size_t key_size, int64_t version);

/* Has an entry expire in ttl seconds, or never when that is 0. */
int shm_dict_expire(struct shm_dict *dict, const char *key, size_t key_size, double ttl);

/* Counts as a use of an entry. */
int shm_dict_touch(struct shm_dict *dict, const char *key, size_t key_size);

/*
 * The keys of the bucket at *cursor, 0 to begin with, which becomes the next one, or -1 after the
 * last: each as its size in four bytes, little endian, and itself. Returns how many bytes they are,
 * and points *ret_data at them. A key that is there from beginning to end comes exactly once.
 */
int64_t shm_dict_scan(struct shm_dict *dict, int64_t *cursor, const char **ret_data);

/* Removes what is in some buckets from *cursor on, as above. */
void shm_dict_flush(struct shm_dict *dict, int64_t *cursor);

struct shm_dict_stat {
	uint64_t size;    /* bytes for entries */
	uint64_t used;    /* bytes of those */
	uint64_t entries; /* with expired ones whose memory was not needed yet */
	uint64_t evicted;
	uint64_t expired; /* entries removed after their time */
	uint64_t undone;  /* operations of killed processes that were undone */
	uint64_t shards;
};
void shm_dict_stat(struct shm_dict *dict, struct shm_dict_stat *stat);

/* Entries, as in shm_dict_stat. */
double shm_dict_entries(struct shm_dict *dict);

/* Lists. `front` says at which end. An element is a value of any type but a list; push makes the
 * list when there is none, pop removes one that is empty. push returns SHM_DICT_DONE with the new
 * length in found->number. */
int shm_dict_push_number(struct shm_dict *dict, const char *key, size_t key_size, int front,
	double number, struct shm_dict_found *found);
int shm_dict_push_integer(struct shm_dict *dict, const char *key, size_t key_size, int front,
	int64_t integer, struct shm_dict_found *found);
int shm_dict_push_boolean(struct shm_dict *dict, const char *key, size_t key_size, int front,
	int value, struct shm_dict_found *found);
int shm_dict_push_bytes(struct shm_dict *dict, const char *key, size_t key_size, int front,
	int type, const char *data, size_t size, struct shm_dict_found *found);
int shm_dict_pop(struct shm_dict *dict, const char *key, size_t key_size, int front,
	struct shm_dict_found *found);

/* How many elements a list has, in found->number. Returns SHM_DICT_DONE, or a problem. */
int shm_dict_length(
	struct shm_dict *dict, const char *key, size_t key_size, struct shm_dict_found *found);

/* The element behind *cursor, 0 for the first, which becomes its own cursor; found->version is that
 * of the list, and a cursor is good for one version. Returns its type, SHM_DICT_NONE behind the
 * last, SHM_DICT_CHANGED when the list is not of `version` (0 for any). */
int shm_dict_element(struct shm_dict *dict, const char *key, size_t key_size, int64_t version,
	int64_t *cursor, struct shm_dict_found *found);

#endif
