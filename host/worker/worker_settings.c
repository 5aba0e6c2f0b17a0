/* Reading a plan into a worker's settings. No state. Runs in workers. */
#include "worker/worker_settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/feed.h"
#include "tls/tls.h"
#include "wire/record.h"

#define DAY_MS (24u * 3600 * 1000)

static int read_access_log(struct slice plan, int *ret_format, struct error *error)
{
	static const char *const names[] = {[HTTP_ACCESS_OFF] = "off",
		[HTTP_ACCESS_COMMON] = "common",
		[HTTP_ACCESS_COMBINED] = "combined",
		[HTTP_ACCESS_JSON] = "json"};
	const char *name = record_find(plan, "access_log");

	for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret_format = (int)i;
			return 0;
		}
	}
	return error_set(error, EINVAL, "the plan has no access_log that is known");
}

/* What is 0 is off. */
static int read_watch(struct worker_settings *settings, struct slice plan, struct error *error)
{
	struct recycle_limits *recycle = &settings->recycle;
	const char *mode = record_find(plan, "mode");
	const struct {
		const char *key;
		uint64_t *to;
		uint64_t maximum;
	} numbers[] = {
		{"worker_timeout", &settings->worker_timeout, DAY_MS},
		{"slow_callback", &settings->slow_callback, DAY_MS},
		{"max_requests", &recycle->requests, UINT64_MAX >> 1},
		{"max_requests_jitter", &recycle->requests_jitter, UINT64_MAX >> 1},
		{"max_memory", &recycle->memory, UINT64_MAX >> 1},
		{"max_lifetime", &recycle->lifetime, 366 * (uint64_t)DAY_MS},
		{"max_lifetime_jitter", &recycle->lifetime_jitter, 366 * (uint64_t)DAY_MS},
	};

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		if (record_number(
			    plan, numbers[i].key, 0, numbers[i].maximum, numbers[i].to, error) != 0)
			return -1;
	}
	if (mode == NULL || strcmp(mode, "development") != 0)
		settings->slow_callback = 0;
	return 0;
}

/* What there is to know of each address. */
static void read_binds(struct worker_settings *settings, struct slice plan)
{
	const char *key;
	const char *value;
	size_t offset = 0;
	size_t apps = 0;

	memset(settings->is_secure, 0, sizeof settings->is_secure);
	memset(settings->app_of, 0, sizeof settings->app_of);
	while (record_next(plan, &offset, &key, &value)) {
		unsigned long position =
			strcmp(key, "tls_bind") == 0 ? strtoul(value, NULL, 10) : 0;

		if (position >= 1 && position <= WIRE_BIND_MAX)
			settings->is_secure[position - 1] = true;
		if (strcmp(key, "bind_app") == 0 && apps < WIRE_BIND_MAX)
			settings->app_of[apps++] = (uint8_t)strtoul(value, NULL, 10);
	}
}

int worker_settings_tls(struct tls_context **ret_context, struct slice plan, struct error *error)
{
	const char *certificate = record_find(plan, "tls_certificate");
	const char *key = record_find(plan, "tls_key");

	*ret_context = NULL;
	if (certificate == NULL || certificate[0] == '\0')
		return 0;
	return tls_context_new(ret_context, certificate, key != NULL ? key : "", error);
}

int worker_settings_read(
	struct worker_settings *ret_settings, struct slice plan, struct error *error)
{
	struct http_config *http = &ret_settings->http;
	uint64_t file_cache_time;
	const struct {
		const char *key;
		uint32_t *to;
		uint64_t maximum;
	} numbers[] = {
		{"request_line_limit", &http->request_line_limit, 1u << 20},
		{"header_limit", &http->header_limit, 1u << 20},
		{"header_count_limit", &http->header_count_limit, 10000},
		{"header_timeout", &http->header_timeout, DAY_MS},
		{"body_timeout", &http->body_timeout, DAY_MS},
		{"body_rate_minimum", &http->body_rate_minimum, 1 << 30},
		{"keep_alive_timeout", &http->keep_alive_timeout, DAY_MS},
		{"response_timeout", &http->response_timeout, DAY_MS},
		{"write_timeout", &http->write_timeout, DAY_MS},
		{"connection_limit", &http->connection_limit, 10000000},
		{"compress_level", &http->compress_level, 9},
		{"write_buffer_limit", &http->write_buffer_limit, 1u << 30},
		{"file_cache_open", &http->file_cache_open, 1000000},
		{"websocket_message_limit", &http->websocket_message_limit, 1u << 30},
		{"websocket_buffer_limit", &http->websocket_buffer_limit, 1u << 30},
		{"websocket_ping_interval", &http->websocket_ping_interval, DAY_MS},
		{"websocket_ping_timeout", &http->websocket_ping_timeout, DAY_MS},
		{"websocket_close_timeout", &http->websocket_close_timeout, DAY_MS},
		{"websocket_compression_min", &http->websocket_compression_min, 1u << 30},
	};
	uint64_t compression;
	uint64_t compress;

	read_binds(ret_settings, plan);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		uint64_t number;

		if (record_number(plan, numbers[i].key, 1, numbers[i].maximum, &number, error) != 0)
			return -1;
		*numbers[i].to = (uint32_t)number;
	}
	if (read_access_log(plan, &http->access_log, error) != 0)
		return -1;
	if (record_number(plan, "websocket_compression", 0, 1, &compression, error) != 0)
		return -1;
	http->websocket_compression = (uint32_t)compression;
	if (record_number(plan, "compress", 0, 1, &compress, error) != 0 ||
		record_number(plan, "compress_minimum", 0, UINT64_MAX >> 1, &http->compress_minimum,
			error) != 0 ||
		record_number(plan, "compress_maximum", 0, UINT64_MAX >> 1, &http->compress_maximum,
			error) != 0)
		return -1;
	http->compress = (uint32_t)compress;
	if (record_number(plan, "body_limit_most", 0, UINT64_MAX >> 1, &http->body_limit, error) !=
			0 ||
		record_number(plan, "unread_body_limit", 0, UINT64_MAX >> 1,
			&http->unread_body_limit, error) != 0 ||
		record_number(plan, "file_cache_time", 0, DAY_MS, &file_cache_time, error) != 0 ||
		record_number(plan, "file_cache_memory", 0, UINT64_MAX >> 1,
			&http->file_cache_memory, error) != 0 ||
		record_number(plan, "file_memory_limit", 0, UINT64_MAX >> 1,
			&http->file_memory_limit, error) != 0)
		return -1;
	http->file_cache_time = (uint32_t)file_cache_time;
	if (record_number(plan, "publish_limit", 1, SHM_FEED_MESSAGE_MAX,
		    &ret_settings->publish_limit, error) != 0)
		return -1;
	return read_watch(ret_settings, plan, error);
}
