/* The Date header line, made once per second, and dates in other headers (RFC 9110, 5.6.7). */
#ifndef PERIGEE_HTTP_DATE_H
#define PERIGEE_HTTP_DATE_H

#include <stdint.h>
#include <time.h>

#include "base/slice.h"

#define HTTP_DATE_SIZE      29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DATE_LINE_SIZE 37 /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

/* A zeroed struct has no line yet. */
struct http_date {
	uint64_t checked; /* the loop's time when the wall clock was last read, ms */
	time_t second;    /* the second `line` says */
	char line[HTTP_DATE_LINE_SIZE + 1];
};

/* The line for the present; `now` is the loop's time in ms, which saves reading the clock. */
const char *http_date_line(struct http_date *date, uint64_t now);

/* The time that line says; the wall clock to within a second. */
time_t http_date_now(struct http_date *date, uint64_t now);

/* Writes a time as text with a NUL. */
void http_date_write(time_t time, char ret_text[HTTP_DATE_SIZE + 1]);

/* Reads a date in any of HTTP's three forms. Returns 0 with *ret_time, or -1 when it is none. */
int http_date_read(struct slice text, time_t *ret_time);

#endif
