/*
 * A growing run of bytes with one owner and an upper limit.
 * A zeroed struct is an empty buffer; buffer_free makes it one again.
 */
#ifndef PERIGEE_BASE_BUFFER_H
#define PERIGEE_BASE_BUFFER_H

#include <stddef.h>

struct buffer {
	char *data;      /* malloc'ed, or NULL while nothing was ever added */
	size_t size;     /* bytes in use */
	size_t capacity; /* bytes allocated; size <= capacity */
};

/* Makes room for `more` bytes after the used ones. Returns 0, or -1 when memory is out. */
int buffer_reserve(struct buffer *buffer, size_t more);

/* Appends a copy of `size` bytes. Returns 0, or -1 when memory is out (nothing is added then). */
int buffer_add(struct buffer *buffer, const void *data, size_t size);

/* Drops the first `size` bytes (size <= buffer->size) and moves the rest to the front. */
void buffer_consume(struct buffer *buffer, size_t size);

void buffer_free(struct buffer *buffer);

#endif
