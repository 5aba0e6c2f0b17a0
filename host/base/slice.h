/* A run of bytes that somebody else owns; never NUL-terminated by promise. */
#ifndef PERIGEE_BASE_SLICE_H
#define PERIGEE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *data; /* may be NULL when size is 0 */
	size_t size;      /* bytes */
};

#define SLICE(literal)                                                                             \
	(struct slice)                                                                             \
	{                                                                                          \
		.data = (literal), .size = sizeof(literal) - 1                                     \
	}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
