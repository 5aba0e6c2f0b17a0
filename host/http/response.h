/* Answers: http_abi.h's http_response_… and those that the server gives itself. */
#ifndef PERIGEE_HTTP_RESPONSE_H
#define PERIGEE_HTTP_RESPONSE_H

struct http_exchange;

/* Answers with `status` and a line of text saying why. The connection's fate is keep_alive's. */
void http_response_refuse(struct http_exchange *exchange, int status, const char *reason);

/* Sends "100 Continue". */
void http_response_continue(struct http_exchange *exchange);

#endif
