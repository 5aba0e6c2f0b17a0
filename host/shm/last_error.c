/* The last failure of the shared objects in this process, for Lua. One text per process. */
#include "shm/last_error.h"

#include <stdio.h>

#pragma GCC visibility push(default)
#include "shm/shm_abi.h"
#pragma GCC visibility pop

static char last_text[ERROR_TEXT_MAX];

int shm_fail(int result, const struct error *error)
{
	(void)snprintf(last_text, sizeof last_text, "%s", error->text);
	return result;
}

const char *shm_last_error(void)
{
	return last_text;
}
