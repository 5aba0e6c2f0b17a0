/*
 * The access log: one line for each answer, on stdout, which is the host's log.
 *
 * Owned by the server. Lines are collected and written at the end of a turn of the loop, whole ones
 * only. When it is off it costs a comparison per request.
 */
#ifndef PERIGEE_HTTP_ACCESS_LOG_H
#define PERIGEE_HTTP_ACCESS_LOG_H

#include <stddef.h>
#include <time.h>

#include "http/request.h"

#define HTTP_ACCESS_BUFFER 65536 /* bytes of lines that are collected */
#define HTTP_ACCESS_FIELD  1024  /* bytes of one field of the client's that are shown */

struct http_access {
	int format;    /* enum http_access_format */
	size_t size;   /* bytes in use */
	time_t second; /* what `time` says */
	char time[40]; /* in the format's way */
	char data[HTTP_ACCESS_BUFFER];
};

/* A log in `format`, or NULL when that is HTTP_ACCESS_OFF or memory is out. free(3) ends it. */
struct http_access *http_access_new(int format);

#define HTTP_ID_SIZE 129 /* the longest id and its NUL */

/* The id of a request that is not over, as req.id has it. */
void http_access_id(const struct http_exchange *exchange, char id[HTTP_ID_SIZE]);

/* Notes that the handler has been given the request, whose duration counts from now. */
void http_access_begin(struct http_exchange *exchange);

/* The request is over: logs it, if it was answered or begun. The log is on. */
void http_access_end(struct http_exchange *exchange);

/* Writes what was collected. */
void http_access_flush(struct http_access *access);

#endif
