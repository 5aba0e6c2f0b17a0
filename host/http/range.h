/* Ranges of bytes (RFC 9110, 14.1.2 and 14.2). */
#ifndef PERIGEE_HTTP_RANGE_H
#define PERIGEE_HTTP_RANGE_H

#include <stdint.h>

#include "base/slice.h"

#define HTTP_RANGES_MAX 16 /* in one request; one with more gets the whole file */

struct http_range {
	uint64_t first; /* bytes from the start */
	uint64_t end;   /* one past the last; first < end <= size of the file */
};

/*
 * Reads a Range value for a file of `size` bytes. Ranges that overlap or touch are made one; the
 * others stay in the order asked for. Returns how many there are; 0 when none can be satisfied
 * (416), or -1 when the value is no range of bytes, or too many: it is to be ignored then.
 */
int http_range_read(
	struct slice value, uint64_t size, struct http_range ret_ranges[HTTP_RANGES_MAX]);

#endif
