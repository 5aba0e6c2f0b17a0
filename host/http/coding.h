/* Content codings a client takes (RFC 9110, 12.5.3). */
#ifndef PERIGEE_HTTP_CODING_H
#define PERIGEE_HTTP_CODING_H

#include "base/slice.h"

/* In the order in which we prefer them when the client does not care. */
enum http_coding { HTTP_CODING_BROTLI = 0, HTTP_CODING_GZIP, HTTP_CODING_IDENTITY, HTTP_CODINGS };

/* "br", "gzip", "identity". */
struct slice http_coding_name(enum http_coding coding);

/*
 * The coding to answer with, of those whose bit (1 << coding) is in `available`; identity always
 * is. `accepted` is the value of Accept-Encoding.
 */
enum http_coding http_coding_choose(struct slice accepted, unsigned available);

#endif
