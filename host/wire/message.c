/* Messages between the manager and its children. No state. In every process. */
#include "wire/message.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"

int wire_send(int socket, struct wire_message *message, const void *body, size_t size,
	const int *fds, size_t count, int flags)
{
	struct buffer packet = {0};
	int result;

	if (size > WIRE_TEXT_LIMIT) {
		errno = EMSGSIZE;
		return -1;
	}
	message->version = WIRE_VERSION;
	message->size = (uint32_t)size;
	if (size == 0)
		return fd_send(socket, message, sizeof *message, fds, count, flags);
	if (buffer_add(&packet, message, sizeof *message) != 0 ||
		buffer_add(&packet, body, size) != 0) {
		buffer_free(&packet);
		errno = ENOMEM;
		return -1;
	}
	result = fd_send(socket, packet.data, packet.size, fds, count, flags);
	buffer_free(&packet);
	return result;
}

static int close_all(int *fds, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		fd_close(&fds[i]);
	*count = 0;
	errno = EPROTO;
	return -1;
}

int wire_receive(int socket, struct wire_message *message, struct buffer *body, int *fds,
	size_t *count, int flags)
{
	ssize_t received;

	body->size = 0;
	if (buffer_reserve(body, sizeof *message + WIRE_TEXT_LIMIT + 1) != 0) {
		*count = 0;
		errno = ENOMEM;
		return -1;
	}
	received = fd_receive(
		socket, body->data, sizeof *message + WIRE_TEXT_LIMIT, fds, count, flags);
	if (received < 0)
		return -1;
	if (received == 0)
		return 0;
	*message = (struct wire_message){0};
	if ((size_t)received < sizeof *message) {
		memcpy(message, body->data, (size_t)received);
		return close_all(fds, count);
	}
	memcpy(message, body->data, sizeof *message);
	body->size = (size_t)received;
	buffer_consume(body, sizeof *message);
	body->data[body->size] = '\0';
	if (message->version != WIRE_VERSION || message->size != body->size || message->type == 0 ||
		message->type >= WIRE_TYPE_END)
		return close_all(fds, count);
	return 1;
}
