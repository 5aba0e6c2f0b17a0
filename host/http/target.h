/* The parts of a request that name things: request-target, Host. Pure functions. */
#ifndef PERIGEE_HTTP_TARGET_H
#define PERIGEE_HTTP_TARGET_H

#include <stdbool.h>

#include "base/slice.h"

/* A request-target taken apart; the slices point into it. */
struct http_target {
	struct slice authority; /* of an absolute target: "host:port"; size 0 else */
	struct slice path;      /* still percent-encoded; "/" when the target has none */
	struct slice query;     /* behind the first "?"; size 0 when none */
	bool escaped;           /* the path holds a "%" */
};

/*
 * Takes origin-form ("/a?b"), absolute-form ("http://host/a?b") and, for OPTIONS, "*" apart.
 * Returns 0, or -1 when the target is none of these or holds what no URI may.
 */
int http_target_split(struct slice target, bool is_options, struct http_target *ret_parts);

/*
 * Percent-decodes `path` once into `to`, which has room for path.size bytes.
 * Returns the size, or -1 on an invalid escape or %00.
 */
long http_target_decode(struct slice path, char *to);

/* Whether `host` can be the value of a Host header: empty, or host with an optional port. */
bool http_host_valid(struct slice host);

#endif
