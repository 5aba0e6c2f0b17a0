/*
 * Connections under TLS: the only place where what the client says and what goes over the wire
 * differ. A connection's `output` holds records then; everything else sees plain bytes.
 *
 * Such a connection stays with its process, which alone has the session: while a drain goes on, its
 * next answer is its last.
 */
#ifndef PERIGEE_HTTP_SECURE_H
#define PERIGEE_HTTP_SECURE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/slice.h"
#include "http/server.h"

struct http_connection;

/* Makes a new connection a secure one. Returns 0, or -1 when memory is out. */
int http_secure_open(struct http_connection *connection, struct tls_context *context);

/* Whether nothing can be said yet: the handshake is under way. */
bool http_secure_is_opening(const struct http_connection *connection);

/* As recv(2) into the server's input. What the handshake has to say is sent from here. */
ssize_t http_secure_receive(struct http_connection *connection);

/* As http_output_add, under its conditions; never batched. */
void http_secure_send(struct http_connection *connection, const struct slice *parts, size_t count);

/* Sends up to `size` bytes of a file from *at on, which moves. Returns as sendfile(2). */
ssize_t http_secure_send_file(struct http_connection *connection, int file, off_t *at, size_t size);

/* The connection closes: says so, if that can be said at once. */
void http_secure_end(struct http_connection *connection);

/* Ends the session, if there is one. */
void http_secure_close(struct http_connection *connection);

#endif
