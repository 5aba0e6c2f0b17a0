/* OpenSSL's functions as tls.c calls them, loaded at need. Only for this room. */
#ifndef PERIGEE_TLS_OPENSSL_H
#define PERIGEE_TLS_OPENSSL_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/error.h"

/* Every function that is used; X is applied to each name. */
#define OPENSSL_FUNCTIONS(X)                                                                       \
	X(BIO_ctrl)                                                                                \
	X(BIO_free)                                                                                \
	X(BIO_new)                                                                                 \
	X(BIO_s_mem)                                                                               \
	X(BIO_write)                                                                               \
	X(ERR_clear_error)                                                                         \
	X(ERR_error_string_n)                                                                      \
	X(ERR_get_error)                                                                           \
	X(SSL_CTX_check_private_key)                                                               \
	X(SSL_CTX_ctrl)                                                                            \
	X(SSL_CTX_free)                                                                            \
	X(SSL_CTX_new)                                                                             \
	X(SSL_CTX_set_alpn_select_cb)                                                              \
	X(SSL_CTX_set_options)                                                                     \
	X(SSL_CTX_use_PrivateKey_file)                                                             \
	X(SSL_CTX_use_certificate_chain_file)                                                      \
	X(SSL_free)                                                                                \
	X(SSL_get_error)                                                                           \
	X(SSL_is_init_finished)                                                                    \
	X(SSL_new)                                                                                 \
	X(SSL_read)                                                                                \
	X(SSL_set_accept_state)                                                                    \
	X(SSL_set_bio)                                                                             \
	X(SSL_shutdown)                                                                            \
	X(SSL_write)                                                                               \
	X(TLS_server_method)

struct openssl {
#define OPENSSL_MEMBER(name) __typeof__ (&(name))(name);
	OPENSSL_FUNCTIONS(OPENSSL_MEMBER)
#undef OPENSSL_MEMBER
};

extern struct openssl openssl;

/* Loads the library, once. Returns 0, or -1 with *error, which says what to install. */
int openssl_load(struct error *error);

#endif
