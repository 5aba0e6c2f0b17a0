/* Passing idle connections on to another worker, and taking over those that one passes on. */
#ifndef PERIGEE_HTTP_HANDOVER_H
#define PERIGEE_HTTP_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct http_server;
struct http_channel;

struct http_handover {
	struct http_channel *heir; /* NULL: there is none, or it is lost */
	bool heir_lost;            /* another one may be named yet */
	uint64_t retry_at;         /* when passing is tried again; HTTP_NEVER else */
	struct list adopting;      /* channels that connections come in through */
};

void http_handover_init(struct http_handover *handover);

/* See http_server_adopt. */
int http_handover_adopt(struct http_server *server, int channel, struct error *error);

/* Names who takes over the idle connections; -1 for nobody. */
void http_handover_set_heir(struct http_server *server, int heir);

/* Passes on what is idle. From the loop only: it may call the handler's on_heir_lost. */
void http_handover_run(struct http_server *server);

/* Does what is due at `now`. Returns when the next thing is due, or HTTP_NEVER. */
uint64_t http_handover_tick(struct http_server *server, uint64_t now);

void http_handover_close_heir(struct http_server *server);
void http_handover_close_adopting(struct http_server *server);

#endif
