/*
 * Fuzzes the connection state machine: bytes of a client, in pieces, through a real socket.
 *
 * The first byte says how the rest is cut: 0 not at all, else pieces of that many bytes. The
 * second one says what the client does at the end: even, it closes; odd, it closes its sending
 * side first. The size of a request's path says what its handler does: 1 answers, 2 streams,
 * 3 aborts, 4 wants the whole body of at most 100 bytes, 5 reads it piece by piece, 6 does so
 * later, 7 makes it a WebSocket that echoes, others answer later. Built with PERIGEE_FUZZ (clang,
 * libFuzzer); run as http_fuzz spec/fuzz/corpus/http.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/fd.h"
#include "http/server.h"
#include "http/websocket_abi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LATER_MOST 64

static uv_loop_t loop;
static struct http_server *server;
static struct http_counters counters;
static int channel = -1;
static struct {
	struct http_request *request;
	uint64_t serial;
} later[LATER_MOST];
static size_t later_count;
static volatile unsigned sum; /* so that every byte is read */

static const struct http_config config = {
	.request_line_limit = 256,
	.header_limit = 512,
	.header_count_limit = 16,
	.body_limit = 4096,
	.unread_body_limit = 600,
	.header_timeout = 1000,
	.body_timeout = 1000,
	.body_rate_minimum = 256,
	.keep_alive_timeout = 1000,
	.response_timeout = 1000,
	.write_timeout = 1000,
	.connection_limit = 10,
	.write_buffer_limit = 1024,
	.compress = 1,
	.compress_level = 1,
	.compress_minimum = 4,
	.compress_maximum = 2000,
	.websocket_message_limit = 1500,
	.websocket_buffer_limit = 3000,
	.websocket_ping_interval = 1000,
	.websocket_ping_timeout = 1000,
	.websocket_close_timeout = 1000,
	.websocket_compression = 1,
	.websocket_compression_min = 16,
};

static void look(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += (unsigned char)text[i];
}

static void look_at(const struct http_request *request, uint64_t serial)
{
	const char *name;
	const char *value;
	size_t name_size;
	size_t value_size;

	look(request->method, request->method_size);
	look(request->target, request->target_size);
	look(request->path, request->path_size);
	look(request->query, request->query_size);
	look(request->body, (size_t)request->body_size);
	for (uint32_t i = 0;
		http_request_header_at(request, serial, i, &name, &name_size, &value, &value_size);
		i++) {
		look(name, name_size);
		look(value, value_size);
		CHECK(memchr(value, '\n', value_size) == NULL);
	}
	CHECK(http_request_header(request, serial, "host", 4, 0, &value_size) != NULL ||
		request->version_minor == 0);
}

static void look_at_trailers(const struct http_request *request, uint64_t serial)
{
	const char *name;
	const char *value;
	size_t name_size;
	size_t value_size;

	for (uint32_t i = 0;
		http_request_trailer_at(request, serial, i, &name, &name_size, &value, &value_size);
		i++) {
		CHECK(request->body_state == HTTP_BODY_COMPLETE);
		CHECK(name_size != 0);
		look(name, name_size);
		look(value, value_size);
		CHECK(memchr(value, '\n', value_size) == NULL);
	}
}

/* Goes on with a body as far as it has come; `whole`: takes nothing before its end. */
static void read_body(struct http_request *request, uint64_t serial, bool whole)
{
	while (request->body_state == HTTP_BODY_COMING &&
		http_request_body_wait(request, serial, whole ? UINT64_MAX : 1) == HTTP_OK) {
		look(request->body, (size_t)request->body_size);
		if (!whole)
			CHECK(http_request_body_take(request, serial) == HTTP_OK);
	}
	if (request->body_state == HTTP_BODY_COMING)
		return;
	look_at(request, serial);
	look_at_trailers(request, serial);
	if (request->body_state == HTTP_BODY_FAILED)
		(void)http_response_send(request, serial, request->body_status, HTTP_TYPE_TEXT,
			NULL, 0, request->body_reason, strlen(request->body_reason));
	else
		(void)http_response_send(request, serial, 200, HTTP_TYPE_TEXT, NULL, 0,
			request->body, (size_t)request->body_size);
}

static void on_body(void *context, struct http_request *request)
{
	(void)context;
	read_body(request, request->serial, request->path_size == 4);
}

/* Sends back each message; "bye" closes. */
static void on_websocket(void *context, struct http_request *request)
{
	uint64_t serial = request->serial;
	struct http_websocket_event event;

	(void)context;
	while (http_websocket_receive(request, serial, &event) == HTTP_OK) {
		if (event.kind == HTTP_WEBSOCKET_NONE)
			return;
		look(event.data, event.size);
		if (event.kind == HTTP_WEBSOCKET_CLOSED ||
			(event.size == 3 && memcmp(event.data, "bye", 3) == 0))
			break;
		CHECK(http_websocket_send(request, serial, event.kind, event.data, event.size) !=
			HTTP_BAD_TEXT);
	}
	(void)http_websocket_finish(request, serial, 1000);
}

static void open_websocket(struct http_request *request, uint64_t serial)
{
	const char *reason;
	int status = http_websocket_check(request, serial, &reason);

	if (status != 0)
		(void)http_response_send(
			request, serial, status, HTTP_TYPE_TEXT, NULL, 0, reason, strlen(reason));
	else
		CHECK(http_websocket_accept(request, serial, NULL, 0) == HTTP_OK);
}

static void on_request(void *context, struct http_request *request)
{
	uint64_t serial = request->serial;

	(void)context;
	CHECK(request->body_state != HTTP_BODY_FAILED);
	look_at(request, serial);
	if (request->path_size == 1) {
		(void)http_response_send(
			request, serial, 200, HTTP_TYPE_TEXT, NULL, 0, "hello\n", 6);
	} else if (request->path_size == 2) {
		(void)http_response_begin(request, serial, 200, 0, NULL, 0, -1);
		(void)http_response_write(request, serial, request->path, request->path_size);
		(void)http_response_end(request, serial);
	} else if (request->path_size == 3) {
		(void)http_response_abort(request, serial);
	} else if (request->path_size == 7) {
		open_websocket(request, serial);
	} else if (request->path_size == 4 || request->path_size == 5) {
		if (request->path_size == 4)
			CHECK(http_request_body_limit(request, serial, 100) == HTTP_OK);
		read_body(request, serial, request->path_size == 4);
	} else if (later_count < LATER_MOST) {
		later[later_count].request = request;
		later[later_count++].serial = serial;
	} else {
		(void)http_response_send(request, serial, 503, 0, NULL, 0, NULL, 0);
	}
}

static void on_cancel(void *context, struct http_request *request, enum http_cancel why)
{
	(void)context;
	(void)why;
	look_at(request, request->serial);
}

static void on_nothing(void *context)
{
	(void)context;
}

static void on_writable(void *context, struct http_request *request)
{
	(void)context;
	(void)http_response_end(request, request->serial);
}

static void on_warning(void *context, const char *text)
{
	(void)context;
	(void)text;
}

static const struct http_handler handler = {
	.on_request = on_request,
	.on_body = on_body,
	.on_cancel = on_cancel,
	.on_writable = on_writable,
	.on_websocket = on_websocket,
	.on_drained = on_nothing,
	.on_heir_lost = on_nothing,
	.on_warning = on_warning,
};

static void start(void)
{
	struct error error;
	int pair[2];

	CHECK(uv_loop_init(&loop) == 0);
	CHECK(http_server_new(&server, &loop, &config, &handler, NULL, &counters, &error) == 0);
	CHECK(fd_packet_pair(pair) == 0);
	CHECK(http_server_adopt(server, pair[0], &error) == 0);
	channel = pair[1];
}

/* Answers what waits and takes what the server sends, as long as there is something. */
static void turn(int client)
{
	char input[65536];

	for (int i = 0; i < 3; i++) {
		(void)uv_run(&loop, UV_RUN_NOWAIT);
		while (later_count != 0) {
			struct http_request *request = later[--later_count].request;
			uint64_t serial = later[later_count].serial;

			if (request->serial == serial && request->path_size == 6)
				read_body(request, serial, false);
			else
				(void)http_response_send(
					request, serial, 200, 0, NULL, 0, "late\n", 5);
		}
		while (client >= 0 && recv(client, input, sizeof input, MSG_DONTWAIT) > 0)
			;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t message[2] = {1, 1};
	int pair[2];
	size_t piece;
	bool half;

	if (size < 2)
		return 0;
	if (server == NULL)
		start();
	piece = data[0] == 0 ? size : data[0];
	half = (data[1] & 1) != 0;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	CHECK(fd_send(channel, message, sizeof message, &pair[0], 1, 0) == 0);
	fd_close(&pair[0]);
	turn(pair[1]);
	for (size_t at = 2; at < size; at += piece) {
		size_t length = size - at < piece ? size - at : piece;

		if (send(pair[1], data + at, length, MSG_NOSIGNAL) < 0 && errno == EPIPE)
			break;
		turn(pair[1]);
	}
	if (half) {
		(void)shutdown(pair[1], SHUT_WR);
		turn(pair[1]);
	}
	fd_close(&pair[1]);
	while (counters.connections != 0)
		turn(-1);
	CHECK(counters.busy == 0);
	return 0;
}
