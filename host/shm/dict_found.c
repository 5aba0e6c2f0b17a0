/* Values on their way out: see dict_found.h. Runs in every process that uses shared objects. */
#include "shm/dict_found.h"

char *dict_scratch(void)
{
	static char scratch[SHM_DICT_VALUE_MAX];

	return scratch;
}

uint64_t dict_bits_of(double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof bits);
	return bits;
}

double dict_number_of(uint64_t bits)
{
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

bool dict_found_value(struct shm_dict *dict, struct dict_place *place, uint64_t bits, size_t size,
	struct shm_dict_found *found)
{
	char *scratch = dict_scratch();

	if (size > SHM_DICT_VALUE_MAX || !dict_bytes_read(dict, place, scratch, size))
		return false;
	found->data = scratch;
	found->size = size;
	found->integer = (int64_t)bits;
	found->number = dict_number_of(bits);
	return true;
}
