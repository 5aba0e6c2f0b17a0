/* Loading OpenSSL: see openssl.h. */
#include "tls/openssl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libssl.so.3" /* which brings libcrypto.so.3 */

struct openssl openssl;

static bool loaded;

/* Where each function's address goes. */
static const struct {
	const char *name;
	size_t offset; /* in struct openssl */
} members[] = {
#define MEMBER(name) {#name, offsetof(struct openssl, name)},
	OPENSSL_FUNCTIONS(MEMBER)
#undef MEMBER
};

int openssl_load(struct error *error)
{
	void *library;

	if (loaded)
		return 0;
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return error_set(
			error, ENOENT, "TLS needs OpenSSL 3 (package libssl3): %s", dlerror());
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		void *function = dlsym(library, members[i].name);

		if (function == NULL)
			return error_set(error, ENOENT, "%s has no %s", LIBRARY, members[i].name);
		memcpy((char *)&openssl + members[i].offset, &function, sizeof function);
	}
	loaded = true;
	return 0;
}
