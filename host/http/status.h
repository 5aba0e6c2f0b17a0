/* Status lines and the content types that are prebuilt. */
#ifndef PERIGEE_HTTP_STATUS_H
#define PERIGEE_HTTP_STATUS_H

#include "base/slice.h"

#define HTTP_STATUS_FIRST 200 /* what a handler may answer with; 1xx are the server's own */
#define HTTP_STATUS_LAST  599

/* "HTTP/1.1 404 Not Found\r\n", or an empty slice for a status without a registered name. */
struct slice http_status_line(int status);

/* "Not Found", or an empty slice. */
struct slice http_status_reason(int status);

/* "Content-Type: text/html; charset=utf-8\r\n" for an enum http_type; empty for none or unknown. */
struct slice http_type_line(int type);

#endif
