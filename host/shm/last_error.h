/* The last failure of this process's calls through the ABI, which cannot fill a struct error. */
#ifndef PERIGEE_SHM_LAST_ERROR_H
#define PERIGEE_SHM_LAST_ERROR_H

#include "base/error.h"

/* Keeps *error's text for shm_last_error and returns `result`, which it was called for. */
int shm_fail(int result, const struct error *error);

#endif
