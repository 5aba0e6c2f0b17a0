/* The memory that values are copied to: see dict_found.h. In every process that uses shared
 * objects. */
#include "shm/dict_found.h"

char dict_scratch[SHM_DICT_VALUE_MAX + DICT_CELL];
