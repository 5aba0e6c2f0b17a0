/*
 * Answering with files: http_response_file of file_abi.h, from a path to a head and where the body
 * comes from.
 *
 * Called out of compiled Lua, so nothing here calls the handler: see server_state.h.
 * Used by workers.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "http/condition.h"
#include "http/export.h"
#include "http/file_body.h"
#include "http/response.h"
#include "http/server_state.h"

#define RANGE_LINE_SIZE 128

/* An answer being made. */
struct answer {
	struct http_exchange *exchange;
	struct http_file *file; /* the one whose coding was chosen */
	struct http_answer head;
	struct http_conditions conditions;
	struct http_range ranges[HTTP_RANGES_MAX];
	int range_count;                  /* 0: the whole file */
	char range_line[RANGE_LINE_SIZE]; /* Content-Range, or the type of a multipart answer */
};

/* The file's own header lines from an offset on. */
static struct slice lines_from(const struct http_file *file, size_t at)
{
	return (struct slice){.data = file->lines + at, .size = file->lines_size - at};
}

static bool method_is(const struct http_request *request, struct slice method)
{
	return request->method_size == method.size &&
	       memcmp(request->method, method.data, method.size) == 0;
}

/* ---- Kinds of answers ---------------------------------------------------------------------- */

static int send_refusal(struct answer *answer, int status, struct slice text)
{
	struct http_answer *head = &answer->head;

	head->status = status;
	head->type = HTTP_TYPE_TEXT;
	head->own = lines_from(answer->file, answer->file->validators_at);
	head->lines = (struct slice){0};
	head->body = text;
	head->length = (int64_t)text.size;
	return http_response_answer(answer->exchange, head);
}

static int send_not_modified(struct answer *answer)
{
	struct http_answer *head = &answer->head;

	head->status = 304;
	head->type = HTTP_TYPE_NONE;
	head->own = lines_from(answer->file, answer->file->validators_at);
	return http_response_answer(answer->exchange, head);
}

static int send_unsatisfiable(struct answer *answer)
{
	int size = snprintf(answer->range_line, sizeof answer->range_line,
		"Content-Range: bytes */%" PRIu64 "\r\n", answer->file->size);

	answer->head.more = (struct slice){.data = answer->range_line, .size = (size_t)size};
	return send_refusal(answer, 416, SLICE("416 Range Not Satisfiable\n"));
}

/* The head, and a body that follows from the file. */
static int send_with_body(struct answer *answer, struct slice type)
{
	struct http_exchange *exchange = answer->exchange;
	struct http_file_body *body;
	struct http_range whole = {.first = 0, .end = answer->file->size};
	int result;

	body = http_file_body_new(exchange, answer->file,
		answer->range_count == 0 ? &whole : answer->ranges,
		answer->range_count == 0 ? 1 : answer->range_count, type);
	if (body == NULL)
		return HTTP_NO_MEMORY;
	if (body->count > 1) {
		int size = snprintf(answer->range_line, sizeof answer->range_line,
			"Content-Type: multipart/byteranges; boundary=%s\r\n", body->boundary);

		answer->head.more =
			(struct slice){.data = answer->range_line, .size = (size_t)size};
	}
	answer->head.length = (int64_t)http_file_body_length(body);
	exchange->file_body = body;
	result = http_response_answer(exchange, &answer->head);
	if (exchange->view.state != HTTP_REQUEST_STREAMING)
		http_file_body_drop(exchange); /* HEAD, or it was refused */
	return result;
}

/* 200, or another status of the handler's. */
static int send_whole(struct answer *answer)
{
	struct http_file *file = answer->file;
	struct http_answer *head = &answer->head;

	head->own = lines_from(file, head->type == HTTP_TYPE_FILE ? 0 : file->coding_at);
	head->type = HTTP_TYPE_NONE;
	if (file->data == NULL)
		return send_with_body(answer, (struct slice){0});
	head->body = (struct slice){.data = file->data, .size = (size_t)file->size};
	head->length = (int64_t)file->size;
	return http_response_answer(answer->exchange, head);
}

static int send_part(struct answer *answer)
{
	struct http_file *file = answer->file;
	struct http_answer *head = &answer->head;
	struct slice type = {0};
	int size;

	head->status = 206;
	if (answer->range_count > 1) {
		type = (struct slice){.data = file->lines, .size = file->coding_at};
		head->own = lines_from(file, file->coding_at);
		head->type = HTTP_TYPE_NONE;
		return send_with_body(answer, type);
	}
	size = snprintf(answer->range_line, sizeof answer->range_line,
		"Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
		answer->ranges[0].first, answer->ranges[0].end - 1, file->size);
	head->own = lines_from(file, head->type == HTTP_TYPE_FILE ? 0 : file->coding_at);
	head->more = (struct slice){.data = answer->range_line, .size = (size_t)size};
	head->type = HTTP_TYPE_NONE;
	if (file->data == NULL)
		return send_with_body(answer, type);
	head->length = (int64_t)(answer->ranges[0].end - answer->ranges[0].first);
	head->body = (struct slice){
		.data = file->data + answer->ranges[0].first, .size = (size_t)head->length};
	return http_response_answer(answer->exchange, head);
}

/* ---- Deciding ------------------------------------------------------------------------------ */

/* RFC 9110, 13.2: preconditions, then the range. */
static int send_as_asked(struct answer *answer, bool is_get)
{
	struct http_file *file = answer->file;
	struct http_validators validators = {
		.etag = {.data = file->etag, .size = file->etag_size},
		.modified = file->stat.st_mtim.tv_sec,
		.now = http_date_now(&answer->exchange->connection->server->date,
			uv_now(answer->exchange->connection->server->loop)),
	};
	int count;

	switch (http_conditions_check(&answer->conditions, &validators)) {
	case 304:
		return send_not_modified(answer);
	case 412:
		return send_refusal(answer, 412, SLICE("412 Precondition Failed\n"));
	default:
		break;
	}
	if (!is_get || !http_conditions_range(&answer->conditions, &validators))
		return send_whole(answer);
	count = http_range_read(answer->conditions.range, file->size, answer->ranges);
	if (count == 0)
		return send_unsatisfiable(answer);
	/* Several parts have a type of their own, which must not be said beside the handler's. */
	if (count < 0 || (count > 1 && answer->head.type != HTTP_TYPE_FILE))
		return send_whole(answer);
	answer->range_count = count;
	return send_part(answer);
}

static int get_entry(struct http_exchange *exchange, struct http_file_root *root, struct slice path,
	struct http_file_entry **ret_entry)
{
	struct http_server *server = exchange->connection->server;

	return http_file_cache_get(
		&server->files, server->config, uv_now(server->loop), root, path, ret_entry);
}

/* The file in the coding to send; an open one that was written to since is opened anew, once. */
static int get_file(struct answer *answer, struct http_file_root *root, struct slice path)
{
	struct http_exchange *exchange = answer->exchange;
	struct http_file_entry *entry;
	enum http_coding coding = HTTP_CODING_IDENTITY;

	for (int i = 0;; i++) {
		int result = get_entry(exchange, root, path, &entry);

		if (result != HTTP_OK)
			return result;
		if (entry->codings != 1u << HTTP_CODING_IDENTITY)
			coding = http_coding_choose(
				answer->conditions.accept_encoding, entry->codings);
		answer->file = entry->files[coding];
		if (i > 0 || http_file_is_unchanged(answer->file))
			return HTTP_OK;
		http_file_cache_drop(&exchange->connection->server->files, entry);
	}
}

HTTP_EXPORT int http_file_find(struct http_request *request, uint64_t serial,
	struct http_file_root *root, const char *path, size_t path_size)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);
	struct http_file_entry *entry;

	if (exchange == NULL)
		return HTTP_OVER;
	return get_entry(exchange, root, (struct slice){.data = path, .size = path_size}, &entry);
}

HTTP_EXPORT int http_response_file(struct http_request *request, uint64_t serial,
	struct http_file_root *root, const char *path, size_t path_size, int status, int type,
	const char *headers, size_t headers_size)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);
	struct answer answer;
	bool is_get;
	int result;

	if (exchange == NULL)
		return HTTP_OVER;
	answer.exchange = exchange;
	answer.range_count = 0;
	answer.head = (struct http_answer){
		.status = status, .type = type, .lines = {.data = headers, .size = headers_size}};
	http_conditions_read(exchange, &answer.conditions);
	result = get_file(&answer, root, (struct slice){.data = path, .size = path_size});
	if (result != HTTP_OK)
		return result;
	is_get = method_is(request, SLICE("GET"));
	if (status == 200 && (is_get || exchange->is_head))
		return send_as_asked(&answer, is_get);
	return send_whole(&answer);
}
