/* The access log: three formats, and their escaping. Used by workers. */
#include "http/access_log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "http/export.h"
#include "http/server_state.h"

#define LINE_MAX_SIZE    (6 * 5 * HTTP_ACCESS_FIELD) /* bytes; four fields, escaped, and the rest */
#define CLIENT_WENT_AWAY 499 /* as nginx says it: nobody was left to be answered */
#define ID_MAX           128 /* bytes of an X-Request-ID that is taken */
#define PREFIX_MAX       40

_Static_assert(LINE_MAX_SIZE <= HTTP_ACCESS_BUFFER, "the buffer holds the longest line");

/* What made ids begin with; one per process, told by Lua. */
static char id_prefix[PREFIX_MAX] = "0";

HTTP_EXPORT void http_request_id_prefix(const char *prefix)
{
	(void)snprintf(id_prefix, sizeof id_prefix, "%s", prefix);
}

struct http_access *http_access_new(int format)
{
	struct http_access *access = format == HTTP_ACCESS_OFF ? NULL : calloc(1, sizeof *access);

	if (access != NULL)
		access->format = format;
	return access;
}

/* ---- Building a line ----------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void put(
	struct http_access *access, const char *format, ...)
{
	size_t room = sizeof access->data - access->size;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(access->data + access->size, room, format, arguments);
	va_end(arguments);
	access->size += (size_t)size < room ? (size_t)size : room - 1;
}

/* The client's own words: nothing of them may end a field or a line. */
static void put_escaped(struct http_access *access, struct slice text)
{
	bool json = access->format == HTTP_ACCESS_JSON;
	size_t size = text.size < HTTP_ACCESS_FIELD ? text.size : HTTP_ACCESS_FIELD;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (sizeof access->data - access->size < 8)
			return;
		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			put(access, json ? "\\u%04x" : "\\x%02x", c);
		else
			access->data[access->size++] = (char)c;
	}
}

static struct slice header(const struct http_exchange *exchange, const char *name)
{
	struct slice value = {0};

	if (exchange->started == 0)
		return value;
	value.data = http_request_header(
		&exchange->view, exchange->view.serial, name, strlen(name), 0, &value.size);
	return value;
}

static bool is_id(struct slice text)
{
	if (text.data == NULL || text.size == 0 || text.size > ID_MAX)
		return false;
	for (size_t i = 0; i < text.size; i++) {
		int c = (unsigned char)text.data[i];

		if (c == '\0' || (!isalnum(c) && strchr("._~+=@:-", c) == NULL))
			return false;
	}
	return true;
}

void http_access_id(const struct http_exchange *exchange, char id[HTTP_ID_SIZE])
{
	struct slice given = {0};

	given.data = http_request_header(&exchange->view, exchange->view.serial, "x-request-id",
		strlen("x-request-id"), 0, &given.size);
	if (is_id(given))
		(void)snprintf(id, HTTP_ID_SIZE, "%.*s", (int)given.size, given.data);
	else
		(void)snprintf(id, HTTP_ID_SIZE, "%s-%" PRIx64, id_prefix, exchange->view.serial);
}

static void put_id(struct http_access *access, const struct http_exchange *exchange)
{
	struct slice given = header(exchange, "x-request-id");

	if (is_id(given))
		put_escaped(access, given);
	else
		put(access, "%s-%" PRIx64, id_prefix, exchange->view.serial);
}

/* The time in the format's way; made anew once a second. */
static const char *time_text(struct http_access *access)
{
	const size_t room = sizeof access->time;
	time_t now = time(NULL);
	struct tm parts;

	if (now == access->second || gmtime_r(&now, &parts) == NULL)
		return access->time;
	access->second = now;
	if (access->format == HTTP_ACCESS_JSON)
		(void)strftime(access->time, room, "%Y-%m-%dT%H:%M:%SZ", &parts);
	else
		(void)strftime(access->time, room, "%d/%b/%Y:%H:%M:%S +0000", &parts);
	return access->time;
}

static const char *peer(struct http_exchange *exchange)
{
	const char *ip = http_exchange_ip(exchange);

	return ip[0] == '\0' ? "-" : ip;
}

static const char *client(struct http_exchange *exchange)
{
	return exchange->started == 0 || exchange->client[0] == '\0' ? peer(exchange)
								     : exchange->client;
}

static void put_quoted(struct http_access *access, struct slice text)
{
	put(access, " \"");
	if (text.data == NULL)
		put(access, "-");
	else
		put_escaped(access, text);
	put(access, "\"");
}

static struct slice method_of(const struct http_exchange *exchange)
{
	return (struct slice){exchange->view.method, exchange->view.method_size};
}

static struct slice target_of(const struct http_exchange *exchange)
{
	return (struct slice){exchange->view.target, exchange->view.target_size};
}

static void put_common(
	struct http_access *access, struct http_exchange *exchange, int status, double duration)
{
	put(access, "%s - - [%s] \"", client(exchange), time_text(access));
	if (exchange->started == 0) {
		put(access, "-"); /* refused before it was understood */
	} else {
		put_escaped(access, method_of(exchange));
		put(access, " ");
		put_escaped(access, target_of(exchange));
		put(access, " HTTP/%d.%d", exchange->view.version_major,
			exchange->view.version_minor);
	}
	put(access, "\" %d %" PRIu64, status, exchange->sent);
	if (access->format == HTTP_ACCESS_COMBINED) {
		put_quoted(access, header(exchange, "referer"));
		put_quoted(access, header(exchange, "user-agent"));
	}
	put(access, " ");
	put_id(access, exchange);
	put(access, " %.6f\n", duration);
}

static void put_member(struct http_access *access, const char *name, struct slice value)
{
	if (value.data == NULL)
		return;
	put(access, ",\"%s\":\"", name);
	put_escaped(access, value);
	put(access, "\"");
}

static void put_json(
	struct http_access *access, struct http_exchange *exchange, int status, double duration)
{
	put(access, "{\"time\":\"%s\",\"ip\":\"%s\",\"peer\":\"%s\",\"id\":\"", time_text(access),
		client(exchange), peer(exchange));
	put_id(access, exchange);
	put(access, "\",\"status\":%d,\"bytes\":%" PRIu64 ",\"duration\":%.6f", status,
		exchange->sent, duration);
	if (exchange->started != 0) {
		put_member(access, "method", method_of(exchange));
		put_member(access, "target", target_of(exchange));
		put_member(access, "referer", header(exchange, "referer"));
		put_member(access, "agent", header(exchange, "user-agent"));
	}
	put(access, "}\n");
}

/* ---- The log ------------------------------------------------------------------------------- */

void http_access_begin(struct http_exchange *exchange)
{
	if (exchange->connection->server->access == NULL)
		return;
	exchange->started = uv_hrtime();
	(void)http_exchange_ip(exchange); /* while there is a peer to ask for */
	exchange->client[0] = '\0';
	exchange->sent = 0;
}

HTTP_EXPORT void http_request_log_client(
	struct http_request *request, uint64_t serial, const char *ip)
{
	struct http_exchange *exchange = (struct http_exchange *)(void *)request;

	if (request->serial == serial && request->state != 0)
		(void)snprintf(exchange->client, sizeof exchange->client, "%s", ip);
}

void http_access_end(struct http_exchange *exchange)
{
	struct http_access *access = exchange->connection->server->access;
	int status = exchange->status == 0 ? CLIENT_WENT_AWAY : exchange->status;
	double duration = 0;

	if (exchange->status == 0 && exchange->started == 0)
		return;
	if (exchange->started != 0)
		duration = (double)(uv_hrtime() - exchange->started) / 1e9;
	if (sizeof access->data - access->size < LINE_MAX_SIZE)
		http_access_flush(access);
	if (access->format == HTTP_ACCESS_JSON)
		put_json(access, exchange, status, duration);
	else
		put_common(access, exchange, status, duration);
	exchange->status = 0;
	exchange->started = 0;
	http_server_later(exchange->connection->server);
}

void http_access_flush(struct http_access *access)
{
	size_t at = 0;

	while (at < access->size) {
		ssize_t written = write(STDOUT_FILENO, access->data + at, access->size - at);

		if (written < 0 && errno != EINTR)
			break; /* the manager is gone, and the log with it */
		if (written > 0)
			at += (size_t)written;
	}
	access->size = 0;
}
