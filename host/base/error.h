/*
 * Errors of the world, as values: a code and a sentence for a person.
 *
 * A function that can fail takes a `struct error *` last and returns -1 (or NULL) after filling it.
 * The sentence says what, where and, if it helps, what to do; it has no trailing newline.
 */
#ifndef PERIGEE_BASE_ERROR_H
#define PERIGEE_BASE_ERROR_H

#define ERROR_TEXT_MAX 1024 /* bytes, the final NUL included; longer texts are cut */

struct error {
	int code; /* a positive errno value */
	char text[ERROR_TEXT_MAX];
};

/* Fills *error. Returns -1, so that `return error_set(…)` reads well. errno is left alone. */
__attribute__((format(printf, 3, 4))) int error_set(
	struct error *error, int code, const char *format, ...);

/* As error_set, with ": " and the text of errno appended and errno as the code. */
__attribute__((format(printf, 2, 3))) int error_set_errno(
	struct error *error, const char *format, ...);

#endif
