/*
 * TLS for servers: plain bytes on one side, records on the other, no socket.
 *
 * OpenSSL's shared libraries are loaded when the first context is made, so that a program without
 * TLS neither needs them nor pays for them. A context is made in the zygote and used in the workers
 * forked from it, which so share the keys that let clients resume sessions.
 */
#ifndef PERIGEE_TLS_TLS_H
#define PERIGEE_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/slice.h"

struct tls_context; /* a certificate and its key */
struct tls_session; /* one connection */

/*
 * Reads a certificate, with its chain behind it, and its key, both PEM files. TLS 1.2 and 1.3;
 * ALPN offers http/1.1 (RFC 7301). Returns 0, or -1 with *error, which names the file.
 */
int tls_context_new(struct tls_context **ret_context, const char *certificate, const char *key,
	struct error *error);

void tls_context_free(struct tls_context *context);

/* A server's session that has seen nothing yet. NULL when memory is out. */
struct tls_session *tls_session_new(struct tls_context *context);

void tls_session_free(struct tls_session *session);

/* Takes what the client sent. Returns 0, or -1 when memory is out. */
int tls_session_take(struct tls_session *session, const void *data, size_t size);

/*
 * Reads what the client said, of all that was taken; does the handshake on the way, so look at
 * tls_session_output after it. Returns the bytes in `data`, 0 when the client has ended (its
 * close_notify), or -1 with errno: EAGAIN for "not yet", EPROTO for what is not TLS as it must be.
 */
ssize_t tls_session_read(struct tls_session *session, void *data, size_t size);

/* Whether the handshake is done: what is said before would get lost. */
bool tls_session_is_open(const struct tls_session *session);

/* Says something, into the output. Returns 0, or -1 when the session is broken. */
int tls_session_say(struct tls_session *session, const void *data, size_t size);

/* Says that nothing more will come: close_notify, into the output. */
void tls_session_end(struct tls_session *session);

/* The records that wait to be sent; valid until the next call. */
struct slice tls_session_output(const struct tls_session *session);

/* Drops the output: it was sent, or is kept elsewhere. */
void tls_session_drop_output(struct tls_session *session);

#endif
