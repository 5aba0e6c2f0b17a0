/* The settings a worker goes by, read from its generation's plan. */
#ifndef PERIGEE_WORKER_WORKER_SETTINGS_H
#define PERIGEE_WORKER_WORKER_SETTINGS_H

#include "base/error.h"
#include "base/slice.h"
#include "http/server.h"
#include "wire/message.h"
#include "worker/recycle.h"

struct worker_settings {
	struct http_config http;
	bool is_secure[WIRE_BIND_MAX]; /* by listener: what comes there is TLS */
	uint8_t app_of[WIRE_BIND_MAX]; /* by listener: which of the apps is served there, from 0 */
	uint64_t publish_limit;  /* bytes of a topic and its message; more cannot be published */
	uint64_t worker_timeout; /* ms without a heartbeat until we are stuck */
	uint64_t slow_callback;  /* ms that a callback may keep the loop, in development; else 0 */
	struct recycle_limits recycle;
};

/* Reads a checked plan. Returns 0, or -1 with *error. */
int worker_settings_read(
	struct worker_settings *ret_settings, struct slice plan, struct error *error);

/* The certificate of a checked plan: *ret_context stays NULL when it has none. Returns 0, or -1
 * with *error. */
int worker_settings_tls(struct tls_context **ret_context, struct slice plan, struct error *error);

#endif
