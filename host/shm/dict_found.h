/* What a dict's operations hand out: values, copied into memory of this process. */
#ifndef PERIGEE_SHM_DICT_FOUND_H
#define PERIGEE_SHM_DICT_FOUND_H

#include "shm/dict_table.h"

/* Memory of this process for what is copied out. */
extern char dict_scratch[SHM_DICT_VALUE_MAX + DICT_CELL];

/* A number's bits, and back. */
static inline uint64_t dict_bits_of(double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof bits);
	return bits;
}

static inline double dict_number_of(uint64_t bits)
{
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

/* Fills in what a value is; its bytes are at `place`. False: not so many bytes, as happens to
 * readers without the guard. */
static inline bool dict_found_value(struct shm_dict *dict, struct dict_place *place, uint64_t bits,
	size_t size, struct shm_dict_found *found)
{
	found->data = dict_scratch;
	found->size = size;
	found->integer = (int64_t)bits;
	found->number = dict_number_of(bits);
	return size == 0 ||
	       (size <= SHM_DICT_VALUE_MAX && dict_bytes_read(dict, place, dict_scratch, size));
}

#endif
