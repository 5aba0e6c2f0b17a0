/* Content types by file name. */
#ifndef PERIGEE_HTTP_MIME_H
#define PERIGEE_HTTP_MIME_H

#include "base/slice.h"

/* "text/css; charset=utf-8" for "a/b.css"; "application/octet-stream" for what is not known. */
struct slice http_mime_type(struct slice path);

#endif
