/* Growing byte buffers. Each has one owner; no sharing. Runs in every process. */
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define BUFFER_SMALLEST 256

int buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t capacity = buffer->capacity < BUFFER_SMALLEST ? BUFFER_SMALLEST : buffer->capacity;
	char *data;

	if (more <= buffer->capacity - buffer->size)
		return 0;
	while (capacity - buffer->size < more) {
		if (capacity > (size_t)-1 / 2)
			return -1;
		capacity *= 2;
	}
	data = realloc(buffer->data, capacity);
	if (data == NULL)
		return -1;
	buffer->data = data;
	buffer->capacity = capacity;
	return 0;
}

int buffer_add(struct buffer *buffer, const void *data, size_t size)
{
	if (size == 0)
		return 0;
	if (buffer_reserve(buffer, size) != 0)
		return -1;
	memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	return 0;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
	CHECK(size <= buffer->size);
	buffer->size -= size;
	if (buffer->size != 0)
		memmove(buffer->data, buffer->data + size, buffer->size);
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){0};
}
