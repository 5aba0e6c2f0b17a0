/* Record blocks. Pure functions over bytes the caller owns. In every process. */
#include "wire/record.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool key_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_' ||
	       byte == '.';
}

static bool key_valid(const char *key, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (!key_byte(key[i]))
			return false;
	}
	return size != 0;
}

int record_check(struct slice block, struct error *error)
{
	const char *at = block.data;
	const char *end = at + block.size;

	if (block.size > RECORD_BLOCK_LIMIT)
		return error_set(error, EMSGSIZE, "settings take %zu bytes; at most %d fit",
			block.size, RECORD_BLOCK_LIMIT);
	while (at != end) {
		const char *key_end = memchr(at, '\0', (size_t)(end - at));
		const char *value_end;

		if (key_end == NULL || !key_valid(at, (size_t)(key_end - at)))
			return error_set(error, EPROTO, "settings block: bad key at byte %zu",
				(size_t)(at - block.data));
		value_end = memchr(key_end + 1, '\0', (size_t)(end - key_end - 1));
		if (value_end == NULL)
			return error_set(
				error, EPROTO, "settings block: the value of %s has no end", at);
		at = value_end + 1;
	}
	return 0;
}

int record_add(struct buffer *block, const char *key, const char *value)
{
	size_t key_size = strlen(key);
	size_t value_size = strlen(value);

	if (!key_valid(key, key_size) ||
		key_size + value_size + 2 > RECORD_BLOCK_LIMIT - block->size)
		return -1;
	if (buffer_reserve(block, key_size + value_size + 2) != 0)
		return -1;
	memcpy(block->data + block->size, key, key_size + 1);
	memcpy(block->data + block->size + key_size + 1, value, value_size + 1);
	block->size += key_size + value_size + 2;
	return 0;
}

int record_next(struct slice block, size_t *offset, const char **ret_key, const char **ret_value)
{
	if (*offset >= block.size)
		return 0;
	*ret_key = block.data + *offset;
	*ret_value = *ret_key + strlen(*ret_key) + 1;
	*offset = (size_t)(*ret_value - block.data) + strlen(*ret_value) + 1;
	return 1;
}

int record_load(struct buffer *block, int fd, struct error *error)
{
	struct stat status;
	size_t size;

	if (fstat(fd, &status) != 0)
		return error_set_errno(
			error, "there are no settings: start it with `perigee serve`");
	size = (size_t)status.st_size;
	if (size > RECORD_BLOCK_LIMIT || buffer_reserve(block, size) != 0 ||
		pread(fd, block->data, size, 0) != (ssize_t)size)
		return error_set(error, EIO, "cannot read the settings");
	block->size = size;
	return record_check((struct slice){block->data, size}, error);
}

const char *record_find(struct slice block, const char *key)
{
	const char *found = NULL;
	const char *name;
	const char *value;
	size_t offset = 0;

	while (record_next(block, &offset, &name, &value)) {
		if (strcmp(name, key) == 0)
			found = value;
	}
	return found;
}

int record_number(struct slice block, const char *key, uint64_t minimum, uint64_t maximum,
	uint64_t *ret_number, struct error *error)
{
	const char *value = record_find(block, key);
	unsigned long long number;
	char *end;

	if (value == NULL)
		return error_set(error, ENOENT, "setting %s is missing", key);
	errno = 0;
	number = strtoull(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0)
		return error_set(
			error, EINVAL, "setting %s is not a whole number: \"%.64s\"", key, value);
	if (number < minimum || number > maximum)
		return error_set(error, ERANGE, "setting %s is %llu; it must be from %llu to %llu",
			key, number, (unsigned long long)minimum, (unsigned long long)maximum);
	*ret_number = number;
	return 0;
}
