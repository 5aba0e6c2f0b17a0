/* What a dict's operations hand out: values, copied into memory of this process. */
#ifndef PERIGEE_SHM_DICT_FOUND_H
#define PERIGEE_SHM_DICT_FOUND_H

#include "shm/dict_table.h"

#pragma GCC visibility push(default)
#include "shm/dict_abi.h"
#pragma GCC visibility pop

/* Memory of this process for what is copied out: SHM_DICT_VALUE_MAX bytes. */
char *dict_scratch(void);

/* Fills in what a value is; its bytes are at `place`. False: not so many bytes, as happens to
 * readers without the guard. */
bool dict_found_value(struct shm_dict *dict, struct dict_place *place, uint64_t bits, size_t size,
	struct shm_dict_found *found);

/* A number's bits, and back. */
uint64_t dict_bits_of(double number);
double dict_number_of(uint64_t bits);

#endif
