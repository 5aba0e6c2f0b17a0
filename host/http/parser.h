/* From bytes to requests, over llhttp, with the checks that llhttp leaves out. */
#ifndef PERIGEE_HTTP_PARSER_H
#define PERIGEE_HTTP_PARSER_H

#include <stddef.h>

struct http_exchange;

enum http_parsed {
	HTTP_PARSED_MORE = 0, /* all bytes are used, the request goes on */
	HTTP_PARSED_HEAD,     /* likewise, and its head is complete and its view filled */
	HTTP_PARSED_REQUEST,  /* it is complete and its view is filled */
	HTTP_PARSED_ERROR     /* exchange->refusal and ->reason say what to answer */
};

/*
 * Parses from `data` and says in *used how many bytes belong to this request. After
 * HTTP_PARSED_REQUEST the view may point into `data`; else nothing does. HTTP_PARSED_HEAD comes
 * once for a request, and not for one whose end comes with its head.
 */
enum http_parsed http_parser_feed(
	struct http_exchange *exchange, const char *data, size_t size, size_t *used);

/* Copies what points into the data of the last feed, so that the request outlives it.
 * Returns 0, or -1 when memory is out. */
int http_parser_keep(struct http_exchange *exchange);

#endif
