/* TLS over OpenSSL: see tls.h. Contexts are made in zygotes, sessions live in workers. */
#include "tls/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tls/openssl.h"

struct tls_context {
	SSL_CTX *context;
};

/* The BIOs belong to the SSL. */
struct tls_session {
	SSL *ssl;
	BIO *input;  /* records from the client */
	BIO *output; /* records to the client */
};

/* ---- Contexts ------------------------------------------------------------------------------ */

/* OpenSSL's own reason for the last failure, behind ours. */
static int fail(struct error *error, const char *what, const char *path)
{
	char reason[256];
	unsigned long code = openssl.ERR_get_error();

	openssl.ERR_error_string_n(code, reason, sizeof reason);
	openssl.ERR_clear_error();
	return error_set(error, EINVAL, "%s %s: %s", what, path,
		code != 0 ? reason : "OpenSSL gives no reason");
}

/* RFC 7301: http/1.1 if the client knows it; a client that offers only others gets no ALPN. */
static int select_protocol(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_size,
	const unsigned char *offered, unsigned int offered_size, void *context)
{
	static const unsigned char http[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

	(void)ssl;
	(void)context;
	for (unsigned int i = 0; i < offered_size; i += offered[i] + 1u) {
		if (offered[i] + 1u <= offered_size - i && offered[i] == http[0] &&
			memcmp(offered + i, http, sizeof http) == 0) {
			*ret_name = offered + i + 1;
			*ret_size = http[0];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_NOACK;
}

static void set_up(SSL_CTX *context)
{
	(void)openssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
	/* An idle session keeps no record buffers. */
	(void)openssl.SSL_CTX_ctrl(context, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, NULL);
	(void)openssl.SSL_CTX_set_options(
		context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	openssl.SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
}

static int read_files(
	SSL_CTX *context, const char *certificate, const char *key, struct error *error)
{
	if (openssl.SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
		return fail(error, "cannot read the certificate", certificate);
	if (openssl.SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		return fail(error, "cannot read the key", key);
	if (openssl.SSL_CTX_check_private_key(context) != 1)
		return fail(error, "the key does not belong to the certificate:", key);
	return 0;
}

int tls_context_new(struct tls_context **ret_context, const char *certificate, const char *key,
	struct error *error)
{
	struct tls_context *context;

	if (openssl_load(error) != 0)
		return -1;
	context = calloc(1, sizeof *context);
	if (context != NULL)
		context->context = openssl.SSL_CTX_new(openssl.TLS_server_method());
	if (context == NULL || context->context == NULL) {
		free(context);
		return error_set(error, ENOMEM, "TLS: memory is out");
	}
	set_up(context->context);
	if (read_files(context->context, certificate, key, error) != 0) {
		tls_context_free(context);
		return -1;
	}
	*ret_context = context;
	return 0;
}

void tls_context_free(struct tls_context *context)
{
	openssl.SSL_CTX_free(context->context);
	free(context);
}

/* ---- Sessions ------------------------------------------------------------------------------ */

struct tls_session *tls_session_new(struct tls_context *context)
{
	struct tls_session *session = calloc(1, sizeof *session);

	if (session == NULL)
		return NULL;
	session->ssl = openssl.SSL_new(context->context);
	session->input = openssl.BIO_new(openssl.BIO_s_mem());
	session->output = openssl.BIO_new(openssl.BIO_s_mem());
	if (session->ssl == NULL || session->input == NULL || session->output == NULL) {
		(void)openssl.BIO_free(session->input);
		(void)openssl.BIO_free(session->output);
		openssl.SSL_free(session->ssl);
		free(session);
		return NULL;
	}
	openssl.SSL_set_bio(session->ssl, session->input, session->output);
	openssl.SSL_set_accept_state(session->ssl);
	return session;
}

void tls_session_free(struct tls_session *session)
{
	openssl.SSL_free(session->ssl);
	free(session);
}

int tls_session_take(struct tls_session *session, const void *data, size_t size)
{
	return openssl.BIO_write(session->input, data, (int)size) == (int)size ? 0 : -1;
}

ssize_t tls_session_read(struct tls_session *session, void *data, size_t size)
{
	size_t total = 0;

	openssl.ERR_clear_error();
	/* A record a call, as long as there are whole ones. */
	while (total < size) {
		int count =
			openssl.SSL_read(session->ssl, (char *)data + total, (int)(size - total));

		if (count > 0) {
			total += (size_t)count;
			continue;
		}
		if (total != 0)
			break; /* what comes of this is told next time */
		switch (openssl.SSL_get_error(session->ssl, count)) {
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			errno = EAGAIN;
			return -1;
		case SSL_ERROR_ZERO_RETURN:
			return 0;
		default:
			openssl.ERR_clear_error();
			errno = EPROTO;
			return -1;
		}
	}
	return (ssize_t)total;
}

bool tls_session_is_open(const struct tls_session *session)
{
	return openssl.SSL_is_init_finished(session->ssl) == 1;
}

int tls_session_say(struct tls_session *session, const void *data, size_t size)
{
	const char *at = data;

	openssl.ERR_clear_error();
	while (size != 0) {
		int part = size < 1 << 20 ? (int)size : 1 << 20;

		/* Into memory, so it is all or nothing. */
		if (openssl.SSL_write(session->ssl, at, part) != part) {
			openssl.ERR_clear_error();
			return -1;
		}
		at += part;
		size -= (size_t)part;
	}
	return 0;
}

void tls_session_end(struct tls_session *session)
{
	if (tls_session_is_open(session))
		(void)openssl.SSL_shutdown(session->ssl);
	openssl.ERR_clear_error();
}

struct slice tls_session_output(const struct tls_session *session)
{
	char *data = NULL;
	long size = openssl.BIO_ctrl(session->output, BIO_CTRL_INFO, 0, &data);

	return (struct slice){.data = data, .size = size > 0 ? (size_t)size : 0};
}

void tls_session_drop_output(struct tls_session *session)
{
	(void)openssl.BIO_ctrl(session->output, BIO_CTRL_RESET, 0, NULL);
}
