/* Process titles. The room is that of the original arguments, one per process. */
#include "worker/title.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static struct {
	char *start;
	size_t size; /* bytes from the first argument to the end of the last */
} room;

void title_init(int argc, char **argv)
{
	const char *last = argv[argc - 1];

	room.start = argv[0];
	room.size = (size_t)(last + strlen(last) + 1 - argv[0]);
}

void title_set(const char *format, ...)
{
	char text[128];
	va_list arguments;
	size_t size;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	(void)prctl(PR_SET_NAME, text);
	if (room.size < sizeof "perigee: ")
		return;
	memset(room.start, 0, room.size);
	size = sizeof "perigee: " - 1;
	memcpy(room.start, "perigee: ", size);
	memcpy(room.start + size, text, strnlen(text, room.size - size - 1));
}
