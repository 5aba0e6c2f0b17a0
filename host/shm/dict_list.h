/* Lists in a dict, for the files of the dict. */
#ifndef PERIGEE_SHM_DICT_LIST_H
#define PERIGEE_SHM_DICT_LIST_H

#include "shm/dict_cells.h"

/* Removes the first or last element of a list that has one, and frees its cells. The guard is held.
 */
void dict_list_drop(
	struct shm_dict *dict, struct dict_shard *shard, struct dict_cell *list, bool front);

#endif
