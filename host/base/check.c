/* Assertions: the one way a Perigee process ends itself on a bug. Runs in every process. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *what)
{
	char text[512];
	int size = snprintf(text, sizeof text, "perigee: bug at %s:%d: %s (pid %d)\n", file, line,
		what, (int)getpid());

	/* Not stdio: its locks and buffers may be what is broken. */
	if (size > 0)
		(void)!write(STDERR_FILENO, text,
			(size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
	abort();
}
