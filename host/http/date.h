/* The Date header line, made once per second. */
#ifndef PERIGEE_HTTP_DATE_H
#define PERIGEE_HTTP_DATE_H

#include <stdint.h>
#include <time.h>

#define HTTP_DATE_LINE_SIZE 37 /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

/* A zeroed struct has no line yet. */
struct http_date {
	uint64_t checked; /* the loop's time when the wall clock was last read, ms */
	time_t second;    /* the second `line` says */
	char line[HTTP_DATE_LINE_SIZE + 1];
};

/* The line for the present; `now` is the loop's time in ms, which saves reading the clock. */
const char *http_date_line(struct http_date *date, uint64_t now);

#endif
