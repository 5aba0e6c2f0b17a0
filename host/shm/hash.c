/* Secrets of hashes: see hash.h. Runs where a table is made. */
#include "shm/hash.h"

#include <errno.h>
#include <sys/random.h>

int shm_hash_secret_make(struct shm_hash_secret *secret, struct error *error)
{
	if (getrandom(secret, sizeof *secret, 0) != (ssize_t)sizeof *secret)
		return error_set_errno(error, "cannot get random numbers");
	for (int i = 0; i < SHM_HASH_WORDS; i++)
		secret->words[i] |= 1; /* a factor of 0 would forget everything */
	return 0;
}
