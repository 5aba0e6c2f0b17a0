/*
 * The limit of our stack: the least that libuv and llhttp can do to answer a request.
 *
 * One process, one loop. It parses what a read brought, collects the answers and sends them in one
 * write; it knows two paths, no limits, no timeouts and no Lua. What Perigee costs above this is
 * what Perigee does; what nginx costs below it, libuv costs.
 *
 *   limit PORT        on 127.0.0.1, until a signal ends it
 */
#include <llhttp/llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define READ_SIZE   65536
#define BATCH_SIZE  65536 /* answers to one read; a pipeline longer than this is cut off */
#define TARGET_SIZE 64
#define BACKLOG     4096

struct connection {
	uv_tcp_t socket;
	llhttp_t parser;
	char target[TARGET_SIZE];
	size_t target_size;
};

/* An answer that the socket did not take at once. */
struct pending {
	uv_write_t request;
	char bytes[];
};

static uv_loop_t loop;
static llhttp_settings_t settings;
static char input[READ_SIZE];
static char batch[BATCH_SIZE];
static size_t batch_size;

static const char text_body[] = "Hello, World!";
static const char json_body[] = "{\"message\":\"Hello, World!\"}";
static char text_answer[256];
static char json_answer[256];
static size_t text_size, json_size;

static size_t make_answer(char *answer, size_t room, const char *type, const char *body)
{
	int size = snprintf(answer, room,
		"HTTP/1.1 200 OK\r\nDate: Sun, 01 Jan 2023 00:00:00 GMT\r\nContent-Type: %s\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		type, strlen(body), body);
	return (size_t)size;
}

static int on_message_begin(llhttp_t *parser)
{
	struct connection *connection = parser->data;
	connection->target_size = 0;
	return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
	struct connection *connection = parser->data;
	if (connection->target_size + size > TARGET_SIZE)
		return HPE_USER;
	memcpy(connection->target + connection->target_size, at, size);
	connection->target_size += size;
	return 0;
}

static int on_message_complete(llhttp_t *parser)
{
	const struct connection *connection = parser->data;
	int json = connection->target_size == 5 && memcmp(connection->target, "/json", 5) == 0;
	size_t size = json ? json_size : text_size;

	if (batch_size + size > BATCH_SIZE)
		return HPE_USER;
	memcpy(batch + batch_size, json ? json_answer : text_answer, size);
	batch_size += size;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_connection(struct connection *connection)
{
	if (!uv_is_closing((uv_handle_t *)&connection->socket))
		uv_close((uv_handle_t *)&connection->socket, on_closed);
}

static void on_written(uv_write_t *request, int status)
{
	if (status < 0)
		close_connection(request->handle->data);
	free(request->data);
}

/* Sends the batch: at once when the socket takes it, else the rest in the background. */
static void flush(struct connection *connection)
{
	uv_stream_t *stream = (uv_stream_t *)&connection->socket;
	uv_buf_t buffer = uv_buf_init(batch, (unsigned int)batch_size);
	int written = uv_try_write(stream, &buffer, 1);

	if (written == UV_EAGAIN)
		written = 0;
	if (written < 0) {
		close_connection(connection);
		return;
	}
	size_t rest = batch_size - (size_t)written;
	if (rest == 0)
		return;
	struct pending *pending = malloc(sizeof *pending + rest);
	if (pending == NULL)
		abort();
	memcpy(pending->bytes, batch + written, rest);
	pending->request.data = pending;
	buffer = uv_buf_init(pending->bytes, (unsigned int)rest);
	if (uv_write(&pending->request, stream, &buffer, 1, on_written) != 0) {
		free(pending);
		close_connection(connection);
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	(void)handle;
	(void)suggested;
	*buffer = uv_buf_init(input, sizeof input);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct connection *connection = stream->data;

	if (size == 0)
		return;
	if (size < 0) {
		close_connection(connection);
		return;
	}
	batch_size = 0;
	if (llhttp_execute(&connection->parser, buffer->base, (size_t)size) != HPE_OK) {
		close_connection(connection);
		return;
	}
	if (batch_size > 0)
		flush(connection);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct connection *connection = calloc(1, sizeof *connection);

	if (status < 0 || connection == NULL || uv_tcp_init(&loop, &connection->socket) != 0)
		abort();
	connection->socket.data = connection;
	llhttp_init(&connection->parser, HTTP_REQUEST, &settings);
	connection->parser.data = connection;
	if (uv_accept(listener, (uv_stream_t *)&connection->socket) != 0) {
		close_connection(connection);
		return;
	}
	(void)uv_tcp_nodelay(&connection->socket, 1);
	(void)uv_read_start((uv_stream_t *)&connection->socket, on_alloc, on_read);
}

int main(int argc, char **argv)
{
	uv_tcp_t listener;
	struct sockaddr_in address;

	if (argc != 2) {
		fprintf(stderr, "usage: limit PORT\n");
		return 2;
	}
	text_size = make_answer(
		text_answer, sizeof text_answer, "text/plain; charset=utf-8", text_body);
	json_size = make_answer(json_answer, sizeof json_answer, "application/json", json_body);
	llhttp_settings_init(&settings);
	settings.on_message_begin = on_message_begin;
	settings.on_url = on_url;
	settings.on_message_complete = on_message_complete;

	int status = uv_loop_init(&loop);
	if (status == 0)
		status = uv_tcp_init(&loop, &listener);
	if (status == 0)
		status = uv_ip4_addr("127.0.0.1", (int)strtol(argv[1], NULL, 10), &address);
	if (status == 0)
		status = uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
	if (status == 0)
		status = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection);
	if (status != 0) {
		fprintf(stderr, "limit: %s\n", uv_strerror(status));
		return 1;
	}
	return uv_run(&loop, UV_RUN_DEFAULT);
}
