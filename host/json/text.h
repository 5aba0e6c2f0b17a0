/*
 * Runs of text inside JSON strings: where a run of plain bytes ends, and whether it is UTF-8.
 * No state. Used by the reader and the writer, in every process that runs Lua.
 */
#ifndef PERIGEE_JSON_TEXT_H
#define PERIGEE_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The first byte from `at` that a JSON string cannot hold as it is: a quote, a backslash or a
 * control character; or that is no ASCII. Returns `end` when there is none.
 */
const char *json_text_plain(const char *at, const char *end);

/*
 * The bytes of the UTF-8 character at `at`, whose first byte is >= 0x80 (RFC 3629: no overlong
 * forms, no surrogates, nothing above U+10FFFF). Returns 2 to 4, or 0 when it is none.
 */
size_t json_text_character(const char *at, const char *end);

/* Writes the UTF-8 of a code point, no surrogate, at most 0x10FFFF. Returns its 1 to 4 bytes. */
size_t json_text_encode(uint32_t code_point, char *to);

#endif
