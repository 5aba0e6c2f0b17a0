/*
 * Requests and responses as Lua sees them, through LuaJIT's FFI.
 *
 * This file is included by the C that implements it and fed to ffi.cdef as it is, so it holds
 * plain declarations only: no directive but this guard and the includes, which the build strips.
 *
 * A request is addressed by a pointer and a serial. The memory behind the pointer stays mapped as
 * long as the process lives and is used again for later requests; the serial is never used again.
 * Every function checks the two against each other, so a request kept past its end is an error
 * value (HTTP_OVER) and never a read of what is not there any more.
 */
#ifndef PERIGEE_HTTP_ABI_H
#define PERIGEE_HTTP_ABI_H

#include <stddef.h>
#include <stdint.h>

/* What Lua may read of a request without a call; valid while serial is the request's. */
struct http_request {
	uint64_t serial;    /* number of this request in this process; changes when it is over */
	const char *method; /* "GET"; upper case as received */
	const char *target; /* as received: "/a%20b?x=1" */
	const char *path;   /* percent-decoded path: "/a b" */
	const char *query;  /* what follows the first "?", not decoded; size 0 when none */
	const char *body;   /* what has come of it and is not taken; NULL when that is nothing */
	uint64_t body_size; /* bytes; decoded of the transfer coding */
	const char *body_reason; /* with HTTP_BODY_FAILED: a sentence, NUL-terminated */
	uint32_t method_size;    /* bytes, as all sizes here */
	uint32_t target_size;
	uint32_t path_size;
	uint32_t query_size;
	uint32_t header_count; /* trailers are not among them */
	uint16_t body_status;  /* with HTTP_BODY_FAILED: the status to answer; 400, 408 or 413 */
	uint8_t version_major; /* 1 */
	uint8_t version_minor; /* 0 or 1 */
	uint8_t state;         /* enum http_request_state: what has been answered so far */
	uint8_t body_state;    /* enum http_body_state */
	uint8_t method_code;   /* the same number for the same method */
	int32_t number; /* of this memory, from 0: the same for every request that is held here */
	uint8_t is_secure; /* 1: it came over TLS */
	uint8_t app;       /* whose address it came to, see http_server_listen */
};

enum http_request_state {
	HTTP_REQUEST_WAITING = 1, /* nothing is answered yet */
	HTTP_REQUEST_STREAMING,   /* http_response_begin was called */
	HTTP_REQUEST_ANSWERED,    /* the response is complete */
	HTTP_REQUEST_UPGRADED     /* it is a WebSocket now: websocket_abi.h */
};

enum http_body_state {
	HTTP_BODY_COMPLETE = 0, /* nothing more comes; the state of a request without a body too */
	HTTP_BODY_COMING,       /* and is read from the client only while it is asked for */
	HTTP_BODY_FAILED        /* malformed, too long or too slow: the connection will be closed */
};

enum http_result {
	HTTP_OK = 0,
	HTTP_FULL = 1,        /* taken, but the client is slow: wait for on_writable before more */
	HTTP_LATER = 2,       /* not yet: on_body tells */
	HTTP_OVER = -1,       /* the request is over: answered before, timed out, client gone */
	HTTP_BAD_STATUS = -2, /* not from 200 to 599 */
	HTTP_BAD_HEADER = -3, /* a name that is no token, or CR, LF or NUL in a value */
	HTTP_BAD_STATE = -4,  /* e.g. write before begin, or begin twice */
	HTTP_TOO_LONG = -5,   /* more body bytes than the Content-Length that was announced */
	HTTP_NO_MEMORY = -6,
	HTTP_BAD_TEXT = -7 /* a WebSocket's text that is no UTF-8 */
};

/* Content types that are prebuilt; 0 sends no Content-Type of its own. */
enum http_type {
	HTTP_TYPE_NONE = 0,
	HTTP_TYPE_TEXT = 1, /* text/plain; charset=utf-8 */
	HTTP_TYPE_HTML = 2, /* text/html; charset=utf-8 */
	HTTP_TYPE_JSON = 3, /* application/json */
	HTTP_TYPE_FILE = 4  /* by the file's name; for http_response_file only */
};

/*
 * The value of header `name` (any case), the `nth` of that name counted from 0.
 * Returns it with *size set, or NULL when there is none or the request is over.
 */
const char *http_request_header(const struct http_request *request, uint64_t serial,
	const char *name, size_t name_size, uint32_t nth, size_t *size);

/* Header number `index` (from 0) as received. Returns 1, or 0 when there is none. */
int http_request_header_at(const struct http_request *request, uint64_t serial, uint32_t index,
	const char **name, size_t *name_size, const char **value, size_t *value_size);

/* The client's address as text ("127.0.0.1", "::1", "unix:"); NULL when the request is over. */
const char *http_request_ip(const struct http_request *request, uint64_t serial);

/* What the ids of requests that came without one begin with, as the access log shows them:
 * "PREFIX-SERIAL", the serial in hexadecimal. Up to 39 bytes; copied. */
void http_request_id_prefix(const char *prefix);

/* Has the access log say that the client is at `ip`, NUL-terminated text, and not at its peer's. */
void http_request_log_client(struct http_request *request, uint64_t serial, const char *ip);

/*
 * Asks for the body: for `least` bytes of it that are not taken yet (1: the next piece), or for
 * all of it (UINT64_MAX). Sends the client the "100 Continue" it may wait for. HTTP_OK: they are
 * there, or the body is complete or has failed, see body_state. HTTP_LATER: on_body comes once
 * when that is so. HTTP_OVER. What is not asked for waits in the client's socket.
 */
int http_request_body_wait(struct http_request *request, uint64_t serial, uint64_t least);

/* Sets how many bytes the body may have, at most as many as the server's body_limit. One that has
 * or announces more fails with 413. Returns HTTP_OK or HTTP_OVER. */
int http_request_body_limit(struct http_request *request, uint64_t serial, uint64_t limit);

/* Takes what is there of the body: body_size is 0 then. Returns HTTP_OK or HTTP_OVER. */
int http_request_body_take(struct http_request *request, uint64_t serial);

/* Trailer field number `index` (from 0), once the body is complete. Returns 1, or 0 when there is
 * none. RFC 9110, 6.5: trailers are never merged into the header fields. */
int http_request_trailer_at(const struct http_request *request, uint64_t serial, uint32_t index,
	const char **name, size_t *name_size, const char **value, size_t *value_size);

/*
 * Answers at once with the whole body. `headers` is "Name: value\r\n" lines, checked here; Date,
 * Content-Length and Connection are Perigee's own. HEAD, 204 and 304 send no body.
 * Returns enum http_result.
 */
int http_response_send(struct http_request *request, uint64_t serial, int status, int type,
	const char *headers, size_t headers_size, const char *body, size_t body_size);

/* Starts a response whose body follows in pieces: chunked when length < 0, else that long. */
int http_response_begin(struct http_request *request, uint64_t serial, int status, int type,
	const char *headers, size_t headers_size, int64_t length);

/* Adds bytes to the body. HTTP_FULL: they are taken, but wait for on_writable before more. */
int http_response_write(
	struct http_request *request, uint64_t serial, const char *data, size_t size);

/* Ends the body. A body shorter than announced closes the connection unterminated. */
int http_response_end(struct http_request *request, uint64_t serial);

/* Gives up a response in its middle: the connection is closed so that the client can tell. */
int http_response_abort(struct http_request *request, uint64_t serial);

#endif
