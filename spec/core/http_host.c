/*
 * A test host: room http with a handler in C, so that HTTP is tested without Lua.
 *
 *   http_host [setting=value]… [listen=FD]
 *
 * Prints "ready PORT", then one line per thing the server tells ("drained", "cancel /path 2" …).
 * Obeys lines on stdin: "drain HOW [HEIR]", "set_heir FD", "adopt FD", "stop", "stat"; its end is
 * "stop". Exits 0 after on_drained when everything on the loop is closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "http/file_abi.h"
#include "http/server.h"
#include "http/websocket_abi.h"

#define PIECE_SIZE 16384

/* A request that is answered later. */
struct later {
	struct later *next;
	struct http_request *request;
	uint64_t serial;
	uint64_t left; /* bytes of /flood that are not written yet; pieces /pieces has taken */
	uint64_t sum;  /* bytes they had */
	uv_timer_t timer;
	bool timed;
};

static struct http_config config = {
	.request_line_limit = 8192,
	.header_limit = 16384,
	.header_count_limit = 100,
	.body_limit = 100 << 20,
	.unread_body_limit = 256 << 10,
	.header_timeout = 10000,
	.body_timeout = 60000,
	.body_rate_minimum = 256,
	.keep_alive_timeout = 75000,
	.response_timeout = 60000,
	.write_timeout = 60000,
	.connection_limit = 100000,
	.write_buffer_limit = 65536,
	.file_cache_time = 1000,
	.file_cache_open = 128,
	.file_cache_memory = 32 << 20,
	.file_memory_limit = 65536,
	.websocket_message_limit = 1 << 20,
	.websocket_buffer_limit = 1 << 20,
	.websocket_ping_interval = 20000,
	.websocket_ping_timeout = 20000,
	.websocket_close_timeout = 5000,
	.websocket_compression = 1,
	.websocket_compression_min = 1024,
};

static uv_loop_t loop;
static struct http_server *server;
static struct http_counters counters;
static struct later *pending;
static uv_poll_t control;
static char command[512];
static size_t command_size;
static char zeros[1 << 20];
static struct http_file_root *root;     /* of /f/… */
static const struct http_request *kept; /* by /keep, looked at by /kept */
static uint64_t kept_serial;

static bool path_is(const struct http_request *request, const char *path)
{
	return request->path_size == strlen(path) &&
	       memcmp(request->path, path, request->path_size) == 0;
}

static uint64_t query_number(const struct http_request *request)
{
	char text[24] = "";

	if (request->query_size < sizeof text)
		memcpy(text, request->query, request->query_size);
	return strtoull(text, NULL, 10);
}

static int reply(struct http_request *request, int status, const char *text, size_t size)
{
	return http_response_send(
		request, request->serial, status, HTTP_TYPE_TEXT, NULL, 0, text, size);
}

static struct later *remember(struct http_request *request)
{
	struct later *later = calloc(1, sizeof *later);

	CHECK(later != NULL);
	later->request = request;
	later->serial = request->serial;
	later->next = pending;
	pending = later;
	return later;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void forget(struct later *later)
{
	for (struct later **at = &pending; *at != NULL; at = &(*at)->next)
		if (*at == later) {
			*at = later->next;
			break;
		}
	if (later->timed)
		uv_close((uv_handle_t *)&later->timer, on_timer_closed);
	else
		free(later);
}

static struct later *find(const struct http_request *request)
{
	struct later *later = pending;

	while (later != NULL && later->request != request)
		later = later->next;
	return later;
}

/* ---- Handlers ------------------------------------------------------------------------------ */

static void hello(struct http_request *request)
{
	(void)reply(request, 200, "hello\n", 6);
}

static void echo(struct http_request *request)
{
	FILE *out;
	char *text;
	size_t size;

	out = open_memstream(&text, &size);
	CHECK(out != NULL);
	fprintf(out, "method %.*s\ntarget %.*s\npath %.*s\nquery %.*s\nversion %u.%u\nip %s\n",
		(int)request->method_size, request->method, (int)request->target_size,
		request->target, (int)request->path_size, request->path, (int)request->query_size,
		request->query, request->version_major, request->version_minor,
		http_request_ip(request, request->serial));
	for (uint32_t i = 0; i < request->header_count; i++) {
		const char *name;
		const char *value;
		size_t name_size;
		size_t value_size;

		CHECK(http_request_header_at(
			request, request->serial, i, &name, &name_size, &value, &value_size));
		fprintf(out, "header %.*s=[%.*s]\n", (int)name_size, name, (int)value_size, value);
	}
	fprintf(out, "body %" PRIu64 " %.*s\n", request->body_size,
		(int)(request->body_size < 4096 ? request->body_size : 4096),
		request->body == NULL ? "" : request->body);
	(void)fclose(out);
	(void)reply(request, 200, text, size);
	free(text);
}

static void answer_body_failure(struct http_request *request)
{
	(void)reply(
		request, request->body_status, request->body_reason, strlen(request->body_reason));
}

/* Reads the body piece by piece and says how many there were, and the trailers. */
static void take_pieces(struct later *later)
{
	struct http_request *request = later->request;
	char text[512];
	int size = 0;
	const char *name;
	const char *value;
	size_t name_size;
	size_t value_size;

	do {
		later->left += request->body_size != 0;
		later->sum += request->body_size;
		CHECK(http_request_body_take(request, later->serial) == HTTP_OK);
		CHECK(request->body == NULL);
		if (request->body_state != HTTP_BODY_COMING)
			break;
	} while (http_request_body_wait(request, later->serial, 1) == HTTP_OK);
	if (request->body_state == HTTP_BODY_COMING)
		return;
	if (request->body_state == HTTP_BODY_FAILED) {
		answer_body_failure(request);
	} else {
		size = snprintf(text, sizeof text, "%" PRIu64 " pieces %" PRIu64 " bytes\n",
			later->left, later->sum);
		for (uint32_t i = 0; http_request_trailer_at(
			     request, later->serial, i, &name, &name_size, &value, &value_size);
			i++)
			size += snprintf(text + size, sizeof text - (size_t)size,
				"trailer %.*s=[%.*s]\n", (int)name_size, name, (int)value_size,
				value);
		(void)reply(request, 200, text, (size_t)size);
	}
	forget(later);
}

static void pieces(struct http_request *request)
{
	take_pieces(remember(request));
}

static void on_late_timer(uv_timer_t *timer)
{
	printf("late\n");
	take_pieces(timer->data);
}

/* As /pieces, but only after a while. */
static void late_pieces(struct http_request *request)
{
	struct later *later = remember(request);

	later->timed = true;
	later->timer.data = later;
	CHECK(uv_timer_init(&loop, &later->timer) == 0);
	CHECK(uv_timer_start(&later->timer, on_late_timer, query_number(request), 0) == 0);
	printf("begun\n");
}

static void on_slow_timer(uv_timer_t *timer)
{
	struct later *later = timer->data;

	if (path_is(later->request, "/slowecho"))
		echo(later->request);
	else
		(void)http_response_send(
			later->request, later->serial, 200, HTTP_TYPE_TEXT, NULL, 0, "slow\n", 5);
	forget(later);
}

static void slow(struct http_request *request)
{
	struct later *later = remember(request);

	later->timed = true;
	later->timer.data = later;
	CHECK(uv_timer_init(&loop, &later->timer) == 0);
	CHECK(uv_timer_start(&later->timer, on_slow_timer, query_number(request), 0) == 0);
}

static void never(struct http_request *request)
{
	(void)remember(request);
}

static void stream(struct http_request *request)
{
	uint64_t count = query_number(request);
	uint64_t serial = request->serial;

	CHECK(http_response_write(request, serial, "x", 1) == HTTP_BAD_STATE);
	CHECK(http_response_begin(request, serial, 200, HTTP_TYPE_TEXT, NULL, 0, -1) == HTTP_OK);
	CHECK(http_response_begin(request, serial, 200, 0, NULL, 0, -1) == HTTP_BAD_STATE);
	for (uint64_t i = 0; i < count; i++)
		CHECK(http_response_write(request, serial, "piece\n", 6) >= HTTP_OK);
	CHECK(http_response_end(request, serial) == HTTP_OK);
	CHECK(http_response_end(request, serial) == HTTP_OVER);
}

static void begin_only(struct http_request *request)
{
	struct later *later = remember(request);

	(void)http_response_begin(request, later->serial, 200, HTTP_TYPE_TEXT, NULL, 0, -1);
	(void)http_response_write(request, later->serial, "begun\n", 6);
}

static void known_length(struct http_request *request)
{
	uint64_t serial = request->serial;

	CHECK(http_response_begin(request, serial, 200, HTTP_TYPE_TEXT, NULL, 0, 10) == HTTP_OK);
	(void)http_response_write(request, serial, "01234", 5);
	if (request->state == HTTP_REQUEST_STREAMING && !path_is(request, "/short") &&
		request->method_size != 4)
		CHECK(http_response_write(request, serial, "567890", 6) == HTTP_TOO_LONG);
	if (!path_is(request, "/short"))
		(void)http_response_write(request, serial, "56789", 5);
	CHECK(http_response_end(request, serial) == HTTP_OK);
}

static void break_off(struct http_request *request)
{
	uint64_t serial = request->serial;

	if (request->query_size != 0) {
		(void)http_response_begin(request, serial, 200, HTTP_TYPE_TEXT, NULL, 0, -1);
		(void)http_response_write(request, serial, "part", 4);
	}
	CHECK(http_response_abort(request, serial) == HTTP_OK);
}

static void big(struct http_request *request)
{
	size_t size = (size_t)query_number(request);
	char *data = malloc(size + 1);

	CHECK(data != NULL);
	memset(data, 'x', size);
	(void)reply(request, 200, data, size);
	free(data);
}

static void flood_on(struct later *later)
{
	struct http_request *request = later->request;
	int result = HTTP_OK;

	while (later->left != 0 && result == HTTP_OK) {
		size_t size = later->left < PIECE_SIZE ? (size_t)later->left : PIECE_SIZE;

		result = http_response_write(request, later->serial, zeros, size);
		later->left -= size;
	}
	if (result == HTTP_FULL)
		printf("full\n");
	if (later->left != 0 && result >= HTTP_OK)
		return;
	(void)http_response_end(request, later->serial);
	forget(later);
}

static void flood(struct http_request *request)
{
	struct later *later = remember(request);

	later->left = query_number(request);
	(void)http_response_begin(request, later->serial, 200, 0, NULL, 0, (int64_t)later->left);
	flood_on(later);
}

static void status(struct http_request *request)
{
	int result = reply(request, (int)query_number(request), "body\n", 5);
	char text[32];

	if (result != HTTP_OK) {
		(void)snprintf(text, sizeof text, "%d\n", result);
		(void)reply(request, 200, text, strlen(text));
	}
}

/* Tries the body of the request as header lines. */
static void headers(struct http_request *request)
{
	int result = http_response_send(request, request->serial, 200, HTTP_TYPE_NONE,
		request->body, (size_t)request->body_size, "sent\n", 5);
	char text[32];

	(void)snprintf(text, sizeof text, "refused %d\n", result);
	if (result != HTTP_OK)
		(void)reply(request, 200, text, strlen(text));
}

static void keep(struct http_request *request)
{
	kept = request;
	kept_serial = request->serial;
	hello(request);
	CHECK(reply(request, 200, "", 0) == HTTP_OVER);
}

static void look_at_kept(struct http_request *request)
{
	size_t size;
	bool over = http_request_header(kept, kept_serial, "host", 4, 0, &size) == NULL &&
		    http_request_ip(kept, kept_serial) == NULL && kept_serial != request->serial;

	(void)reply(request, 200, over ? "over\n" : "alive\n", over ? 5 : 6);
}

static void stat_counters(struct http_request *request)
{
	char text[160];
	int size = snprintf(text, sizeof text,
		"requests %" PRIu64 " connections %" PRIu64 " accepted %" PRIu64 " busy %" PRIu64
		"\n",
		counters.requests, counters.connections, counters.accepted, counters.busy);

	(void)reply(request, 200, text, (size_t)size);
}

static void open_socket(struct http_request *request)
{
	const char *reason;
	int status_code = http_websocket_check(request, request->serial, &reason);

	if (status_code != 0) {
		(void)reply(request, status_code, reason, strlen(reason));
		return;
	}
	CHECK(http_websocket_accept(request, request->serial, NULL, 0) == HTTP_OK);
	CHECK(http_websocket_subscribe(request, request->serial, "all", 3) == HTTP_OK);
}

/* Sends back each message; "bye" closes. */
static void echo_socket(struct http_request *request)
{
	uint64_t serial = request->serial;
	struct http_websocket_event event;

	for (;;) {
		CHECK(http_websocket_receive(request, serial, &event) == HTTP_OK);
		if (event.kind == HTTP_WEBSOCKET_NONE)
			return;
		if (event.kind == HTTP_WEBSOCKET_CLOSED)
			break;
		if (event.size == 3 && memcmp(event.data, "bye", 3) == 0)
			break;
		/* HTTP_FULL drops it: a handler in C cannot wait. */
		(void)http_websocket_send(request, serial, event.kind, event.data, event.size);
	}
	printf("closed %d %.*s\n", event.code, (int)event.size,
		event.data == NULL ? "" : event.data);
	(void)http_websocket_finish(request, serial, 1000);
}

static void pid(struct http_request *request)
{
	char text[32];
	int size = snprintf(text, sizeof text, "%d\n", (int)getpid());

	(void)reply(request, 200, text, (size_t)size);
}

/* /f/NAME: a file below the root; /h/NAME: with header lines and a type of the handler's; /t/NAME:
 * a trusted path, as status 404; /l/NAME: a listing. */
static void file(struct http_request *request)
{
	static const char own[] = "Cache-Control: max-age=60\r\nContent-Type: x/own\r\n";
	bool lines = request->path[1] == 'h';
	bool trusted = request->path[1] == 't';
	const char *path = request->path + (trusted ? 2 : 3);
	size_t size = request->path_size - (trusted ? 2 : 3);
	int result = http_response_file(request, request->serial, trusted ? NULL : root, path, size,
		trusted ? 404 : 200, lines ? HTTP_TYPE_NONE : HTTP_TYPE_FILE, lines ? own : NULL,
		lines ? sizeof own - 1 : 0);
	char text[32];

	if (result == HTTP_OK)
		return;
	(void)snprintf(text, sizeof text, "refused %d\n", result);
	CHECK(reply(request, 500, text, strlen(text)) == HTTP_OK);
}

static void listing(struct http_request *request)
{
	char folder[256] = "";
	size_t size;
	int truncated;
	char *list;

	CHECK(request->path_size - 3 < sizeof folder);
	memcpy(folder, request->path + 3, request->path_size - 3);
	list = http_file_list(root, folder, strlen(folder), &size, &truncated);
	if (list == NULL) {
		(void)reply(request, 404, "", 0);
		return;
	}
	for (size_t i = 0; i < size; i++)
		if (list[i] == '\0')
			list[i] = '\n';
	(void)reply(request, truncated ? 206 : 200, list, size);
	http_file_list_free(list);
}

static const struct route {
	const char *path;
	void (*handle)(struct http_request *request);
	bool whole; /* once the whole body is there */
} routes[] = {
	{"/hello", hello, false},
	{"/echo", echo, true},
	{"/pieces", pieces, false},
	{"/late", late_pieces, false},
	{"/slow", slow, false},
	{"/slowecho", slow, true},
	{"/never", never, false},
	{"/stream", stream, false},
	{"/begin", begin_only, false},
	{"/length", known_length, false},
	{"/short", known_length, false},
	{"/abort", break_off, false},
	{"/big", big, false},
	{"/flood", flood, false},
	{"/status", status, false},
	{"/headers", headers, true},
	{"/keep", keep, false},
	{"/kept", look_at_kept, false},
	{"/stat", stat_counters, false},
	{"/pid", pid, false},
	{"/echo-socket", open_socket, false},
	{"/deaf-socket", open_socket, false},
};

/* ---- What the server calls ----------------------------------------------------------------- */

static const struct route *route_of(const struct http_request *request)
{
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (path_is(request, routes[i].path))
			return &routes[i];
	return NULL;
}

static void on_request(void *context, struct http_request *request)
{
	const struct route *route = route_of(request);

	(void)context;
	if (request->path_size > 2 && request->path[2] == '/' &&
		memchr("fht", request->path[1], 3) != NULL) {
		file(request);
		return;
	}
	if (request->path_size > 2 && memcmp(request->path, "/l/", 3) == 0) {
		listing(request);
		return;
	}
	if (route == NULL)
		(void)reply(request, 404, "no such path\n", 13);
	else if (!route->whole ||
		 http_request_body_wait(request, request->serial, UINT64_MAX) == HTTP_OK)
		route->handle(request);
}

static void on_body(void *context, struct http_request *request)
{
	struct later *later = find(request);

	(void)context;
	if (later != NULL)
		take_pieces(later);
	else if (request->body_state == HTTP_BODY_FAILED)
		answer_body_failure(request);
	else
		route_of(request)->handle(request);
}

static void on_cancel(void *context, struct http_request *request, enum http_cancel why)
{
	struct later *later = find(request);

	(void)context;
	CHECK(reply(request, 200, "late", 4) == HTTP_OVER);
	printf("cancel %.*s %d\n", (int)request->path_size, request->path, (int)why);
	if (later != NULL)
		forget(later);
}

static void on_writable(void *context, struct http_request *request)
{
	struct later *later = find(request);

	(void)context;
	CHECK(later != NULL);
	printf("writable\n");
	flood_on(later);
}

static void on_websocket(void *context, struct http_request *request)
{
	struct http_websocket_event event;

	(void)context;
	if (!path_is(request, "/deaf-socket"))
		echo_socket(request);
	else if (http_websocket_closing(request, request->serial, &event) == 1)
		(void)http_websocket_finish(request, request->serial, 1000);
}

static void on_drained(void *context)
{
	(void)context;
	printf("drained\n");
	if (uv_is_active((uv_handle_t *)&control))
		uv_close((uv_handle_t *)&control, NULL);
}

static void on_heir_lost(void *context)
{
	(void)context;
	printf("heir_lost\n");
}

static void on_warning(void *context, const char *text)
{
	(void)context;
	printf("warning %s\n", text);
}

static const struct http_handler handler = {
	.on_request = on_request,
	.on_body = on_body,
	.on_cancel = on_cancel,
	.on_writable = on_writable,
	.on_websocket = on_websocket,
	.on_drained = on_drained,
	.on_heir_lost = on_heir_lost,
	.on_warning = on_warning,
};

/* ---- Control ------------------------------------------------------------------------------- */

static void obey(const char *line)
{
	struct error error;
	char how[16] = "";
	int fd = -1;

	if (sscanf(line, "drain %15s %d", how, &fd) >= 1)
		http_server_drain(server,
			strcmp(how, "replaced") == 0  ? HTTP_DRAIN_REPLACED
			: strcmp(how, "retired") == 0 ? HTTP_DRAIN_RETIRED
						      : HTTP_DRAIN_SHUTDOWN,
			fd);
	else if (sscanf(line, "set_heir %d", &fd) == 1)
		http_server_set_heir(server, fd);
	else if (sscanf(line, "adopt %d", &fd) == 1)
		CHECK(http_server_adopt(server, fd, &error) == 0);
	else if (strncmp(line, "publish ", 8) == 0)
		printf("published %d\n", http_server_publish(server, SLICE("all"), 1,
						 (struct slice){line + 8, strlen(line + 8)}));
	else if (strcmp(line, "stat") == 0)
		printf("stat requests %" PRIu64 " connections %" PRIu64 " accepted %" PRIu64
		       " busy %" PRIu64 " websockets %" PRIu64 " slow %" PRIu64 "\n",
			counters.requests, counters.connections, counters.accepted, counters.busy,
			counters.websockets, counters.websockets_slow);
	else
		http_server_stop(server);
}

static void on_control(uv_poll_t *poll, int status_of_poll, int events)
{
	ssize_t size = read(0, command + command_size, sizeof command - command_size - 1);
	char *end;

	(void)status_of_poll;
	(void)events;
	if (size <= 0) {
		uv_close((uv_handle_t *)poll, NULL);
		http_server_stop(server);
		return;
	}
	command_size += (size_t)size;
	command[command_size] = '\0';
	while ((end = strchr(command, '\n')) != NULL) {
		*end = '\0';
		obey(command);
		command_size -= (size_t)(end + 1 - command);
		memmove(command, end + 1, command_size + 1);
	}
}

static bool set(const char *name, size_t name_size, uint64_t value)
{
#define SETTING(field)                                                                             \
	if (strlen(#field) == name_size && memcmp(#field, name, name_size) == 0) {                 \
		config.field = (__typeof__(config.field))value;                                    \
		return true;                                                                       \
	}
	SETTING(request_line_limit)
	SETTING(header_limit)
	SETTING(header_count_limit)
	SETTING(body_limit)
	SETTING(unread_body_limit)
	SETTING(header_timeout)
	SETTING(body_timeout)
	SETTING(body_rate_minimum)
	SETTING(keep_alive_timeout)
	SETTING(response_timeout)
	SETTING(write_timeout)
	SETTING(connection_limit)
	SETTING(write_buffer_limit)
	SETTING(file_cache_time)
	SETTING(file_cache_open)
	SETTING(file_cache_memory)
	SETTING(file_memory_limit)
	SETTING(websocket_message_limit)
	SETTING(websocket_buffer_limit)
	SETTING(websocket_ping_interval)
	SETTING(websocket_ping_timeout)
	SETTING(websocket_close_timeout)
	SETTING(websocket_compression)
	SETTING(websocket_compression_min)
#undef SETTING
	return false;
}

static int listen_somewhere(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
	CHECK(listen(fd, 511) == 0);
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in address = {0};
	socklen_t size = sizeof address;

	(void)getsockname(fd, (struct sockaddr *)&address, &size);
	return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
	struct error error;
	const char *directory = NULL;
	const char *why;
	uint32_t flags = 0;
	int fd = -2;
	int port;

	setvbuf(stdout, NULL, _IOLBF, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		const char *mark = strchr(argv[i], '=');

		CHECK(mark != NULL);
		if (strncmp(argv[i], "listen=", 7) == 0)
			fd = atoi(mark + 1);
		else if (strncmp(argv[i], "flags=", 6) == 0)
			flags = (uint32_t)atoi(mark + 1);
		else if (strncmp(argv[i], "root=", 5) == 0)
			directory = mark + 1;
		else
			CHECK(set(argv[i], (size_t)(mark - argv[i]), strtoull(mark + 1, NULL, 10)));
	}
	if (directory != NULL)
		CHECK((root = http_file_root_open(directory, flags, &why)) != NULL);
	CHECK(uv_loop_init(&loop) == 0);
	CHECK(http_server_new(&server, &loop, &config, &handler, NULL, &counters, &error) == 0);
	if (fd == -2)
		fd = listen_somewhere();
	port = port_of(fd);
	if (fd >= 0)
		CHECK(http_server_listen(server, fd, NULL, 0, &error) == 0);
	CHECK(uv_poll_init(&loop, &control, 0) == 0);
	CHECK(uv_poll_start(&control, UV_READABLE, on_control) == 0);
	printf("ready %d\n", port);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	http_server_free(server);
	CHECK(uv_loop_close(&loop) == 0);
	printf("closed\n");
	return 0;
}
