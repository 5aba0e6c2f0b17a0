/* Making and finding dicts in the region, for what is a dict or built on one. */
#ifndef PERIGEE_SHM_DICT_MAKE_H
#define PERIGEE_SHM_DICT_MAKE_H

#include "shm/dict_layout.h"

/* What a dict is to be. */
struct dict_want {
	const char *name;
	const char *kind;
	const char *shape;
	uint64_t size; /* bytes of the object */
	bool evicts;
};

/* Bytes of an object with at least `cells` cells. */
uint64_t dict_size_of(uint64_t cells);

/* Finds it, or makes it when `create` is set. NULL: shm_last_error says why. */
struct shm_dict *dict_open(const struct dict_want *want, bool create);

#endif
