/*
 * Record blocks: how settings and plans cross from one process to the next.
 *
 * A block is a run of records, each "key NUL value NUL". A key may come more than once (a list,
 * in order). Keys are [a-z0-9_.]+; values are any bytes but NUL. Nothing is escaped, so a block
 * is checked once (record_check) and then read in place.
 */
#ifndef PERIGEE_WIRE_RECORD_H
#define PERIGEE_WIRE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/slice.h"

#define RECORD_BLOCK_LIMIT (128 * 1024) /* bytes; a block must fit one packet of a socket pair */

/* Returns 0 when every byte of the block has a meaning, -1 with *error otherwise. */
int record_check(struct slice block, struct error *error);

/* Appends one record. Returns 0, or -1 when memory is out, the key or value has a NUL or the block
 * would pass its limit. */
int record_add(struct buffer *block, const char *key, const char *value);

/*
 * Walks a checked block: *offset is 0 at first. Returns 1 and the next record, whose strings are
 * NUL-terminated and live as long as the block, or 0 at its end.
 */
int record_next(struct slice block, size_t *offset, const char **ret_key, const char **ret_value);

/*
 * Reads a whole block from the memfd it was handed over in, whose position is left alone, and
 * checks it. `block` is empty before. Returns 0, or -1 with *error.
 */
int record_load(struct buffer *block, int fd, struct error *error);

/* The last value of `key` in a checked block, or NULL. */
const char *record_find(struct slice block, const char *key);

/*
 * The value of `key` as an unsigned decimal number. Returns 0, or -1 with *error when it is
 * missing, not a number, below `minimum` or above `maximum`.
 */
int record_number(struct slice block, const char *key, uint64_t minimum, uint64_t maximum,
	uint64_t *ret_number, struct error *error);

#endif
