/*
 * Bytes to the client.
 *
 * Answers given while a read is being worked on are collected in one batch per loop and leave in
 * one write. Other bytes are written at once, straight from the caller's memory. What the client
 * does not take is copied to the connection's own buffer.
 */
#ifndef PERIGEE_HTTP_OUTPUT_H
#define PERIGEE_HTTP_OUTPUT_H

#include <stddef.h>

#include "base/slice.h"

#define HTTP_BATCH_SIZE 65536 /* bytes of answers collected at most */
#define HTTP_PARTS_MAX  6     /* slices in one http_output_add */

struct http_connection;

struct http_batch {
	char *data;                    /* HTTP_BATCH_SIZE bytes */
	size_t size;                   /* bytes in use */
	struct http_connection *owner; /* whose read is being worked on, or NULL */
};

/* Starts collecting for `connection`; no other may be collecting. */
void http_output_begin(struct http_connection *connection);

/* Ends collecting and writes what there is. */
void http_output_finish(struct http_connection *connection);

/* Adds bytes: batched, written, or kept. A failure leaves the connection marked broken. */
void http_output_add(struct http_connection *connection, const struct slice *parts, size_t count);

/*
 * Room for `size` bytes in the batch, or NULL when they have to go another way (http_output_add).
 * What is written there counts when http_output_put says how much it is, before anything is added.
 */
char *http_output_room(struct http_connection *connection, size_t size);
void http_output_put(struct http_connection *connection, size_t size);

/* Sends records of a connection under TLS, or keeps them behind others. */
void http_output_send(struct http_connection *connection, struct slice records);

/* Writes kept bytes as far as the client takes them. Returns how many it took. */
size_t http_output_flush(struct http_connection *connection);

#endif
