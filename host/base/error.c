/* Errors of the world, as values. Owned by the caller, usually on its stack. In every process. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list arguments;

	error->code = code;
	va_start(arguments, format);
	(void)vsnprintf(error->text, sizeof error->text, format, arguments);
	va_end(arguments);
	return -1;
}

int error_set_errno(struct error *error, const char *format, ...)
{
	int code = errno;
	va_list arguments;
	size_t size;

	error->code = code;
	va_start(arguments, format);
	(void)vsnprintf(error->text, sizeof error->text, format, arguments);
	va_end(arguments);
	size = strlen(error->text);
	(void)snprintf(error->text + size, sizeof error->text - size, ": %s", strerror(code));
	return -1;
}
