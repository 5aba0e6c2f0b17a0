/* Connections under TLS: see secure.h. Used by workers. */
#include "http/secure.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server_state.h"
#include "tls/tls.h"

/* Bytes read at once: with a record that has come in part, their plain text still fits the input,
 * so that nothing stays behind of which no poll would tell. */
#define RECORDS_SIZE (HTTP_INPUT_SIZE - 17 * 1024)

#define FILE_PART 32768 /* bytes of a file that are read, and made two records of, at once */

int http_secure_open(struct http_connection *connection, struct tls_context *context)
{
	struct http_server *server = connection->server;

	if (server->records == NULL)
		server->records = malloc(RECORDS_SIZE);
	if (server->records == NULL)
		return -1;
	connection->tls = tls_session_new(context);
	return connection->tls != NULL ? 0 : -1;
}

bool http_secure_is_opening(const struct http_connection *connection)
{
	return connection->tls != NULL && !tls_session_is_open(connection->tls);
}

/* Sends the records there are, behind those the client has not taken yet. */
static void send_records(struct http_connection *connection)
{
	struct slice records = tls_session_output(connection->tls);

	if (records.size != 0)
		http_output_send(connection, records);
	tls_session_drop_output(connection->tls);
}

ssize_t http_secure_receive(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	ssize_t size;
	int code;

	do
		size = recv(connection->fd, server->records, RECORDS_SIZE, 0);
	while (size < 0 && errno == EINTR);
	if (size <= 0)
		return size;
	if (tls_session_take(connection->tls, server->records, (size_t)size) != 0) {
		errno = ENOMEM;
		return -1;
	}
	size = tls_session_read(connection->tls, server->input, HTTP_INPUT_SIZE);
	code = errno;
	send_records(connection);
	errno = code;
	return size;
}

void http_secure_send(struct http_connection *connection, const struct slice *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (parts[i].size != 0 &&
			tls_session_say(connection->tls, parts[i].data, parts[i].size) != 0) {
			connection->broken = true;
			return;
		}
	}
	send_records(connection);
}

ssize_t http_secure_send_file(struct http_connection *connection, int file, off_t *at, size_t size)
{
	char data[FILE_PART];
	struct slice part = {.data = data};
	ssize_t count;

	if (connection->output.size != 0) {
		errno = EAGAIN;
		return -1;
	}
	do
		count = pread(file, data, size < sizeof data ? size : sizeof data, *at);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return count;
	part.size = (size_t)count;
	http_secure_send(connection, &part, 1);
	*at += count;
	return count;
}

void http_secure_end(struct http_connection *connection)
{
	if (connection->broken || connection->output.size != 0)
		return;
	tls_session_end(connection->tls);
	send_records(connection);
}

void http_secure_close(struct http_connection *connection)
{
	if (connection->tls != NULL)
		tls_session_free(connection->tls);
	connection->tls = NULL;
}
