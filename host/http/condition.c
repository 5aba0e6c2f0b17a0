/* Conditional requests. No state; used by workers. */
#include "http/condition.h"

#include <stddef.h>
#include <strings.h>

#include "http/date.h"
#include "http/request.h"

/* The fields by name; lists may be repeated, of the others none counts when there are two. */
static const struct {
	struct slice name;
	size_t at;
	bool is_list;
} fields[] = {
	{SLICE("Range"), offsetof(struct http_conditions, range), false},
	{SLICE("If-Match"), offsetof(struct http_conditions, if_match), true},
	{SLICE("If-Range"), offsetof(struct http_conditions, if_range), false},
	{SLICE("If-None-Match"), offsetof(struct http_conditions, if_none_match), true},
	{SLICE("Accept-Encoding"), offsetof(struct http_conditions, accept_encoding), true},
	{SLICE("If-Modified-Since"), offsetof(struct http_conditions, if_modified_since), false},
	{SLICE("If-Unmodified-Since"), offsetof(struct http_conditions, if_unmodified_since),
		false},
};

#define FIELD_COUNT (sizeof fields / sizeof fields[0])

/* Which names may have a length, as bits of `fields`: most headers are none of ours. */
#define NAME_SIZE_MAX 20
static const unsigned char by_size[NAME_SIZE_MAX] = {[5] = 1 << 0,
	[8] = 1 << 1 | 1 << 2,
	[13] = 1 << 3,
	[15] = 1 << 4,
	[17] = 1 << 5,
	[19] = 1 << 6};

/* "a" and "b" as "a, b". */
static struct slice joined(struct arena *arena, struct slice a, struct slice b)
{
	char *text = arena_alloc(arena, a.size + 2 + b.size);

	if (text == NULL)
		return a;
	memcpy(text, a.data, a.size);
	text[a.size] = ',';
	text[a.size + 1] = ' ';
	memcpy(text + a.size + 2, b.data, b.size);
	return (struct slice){.data = text, .size = a.size + 2 + b.size};
}

static void note(struct http_exchange *exchange, struct http_conditions *conditions, size_t field,
	struct slice value)
{
	struct slice *slot = (struct slice *)(void *)((char *)conditions + fields[field].at);

	if (slot->data == NULL)
		*slot = value;
	else if (fields[field].is_list)
		*slot = joined(&exchange->arena, *slot, value);
	else
		slot->size = 0;
}

void http_conditions_read(struct http_exchange *exchange, struct http_conditions *ret_conditions)
{
	*ret_conditions = (struct http_conditions){0};
	for (uint32_t i = 0; i < exchange->view.header_count; i++) {
		const struct http_field *field = &exchange->fields[i];
		const char *name = exchange->base + field->name_at;
		unsigned candidates =
			field->name_size < NAME_SIZE_MAX ? by_size[field->name_size] : 0;

		for (size_t j = 0; candidates != 0; j++, candidates >>= 1)
			if ((candidates & 1) != 0 &&
				strncasecmp(name, fields[j].name.data, field->name_size) == 0)
				note(exchange, ret_conditions, j,
					(struct slice){.data = exchange->base + field->value_at,
						.size = field->value_size});
	}
}

/* Takes an entity-tag (RFC 9110, 8.8.3) from the front of a list. Returns whether there was one. */
static bool take_tag(struct slice *list, struct slice *ret_tag, bool *ret_weak)
{
	const char *at = list->data;
	const char *end = at + list->size;
	const char *quote;

	while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
		at++;
	*ret_weak = end - at >= 2 && at[0] == 'W' && at[1] == '/';
	if (*ret_weak)
		at += 2;
	if (at == end || *at != '"')
		return false;
	quote = memchr(at + 1, '"', (size_t)(end - at - 1));
	if (quote == NULL)
		return false;
	*ret_tag = (struct slice){.data = at, .size = (size_t)(quote + 1 - at)};
	*list = (struct slice){.data = quote + 1, .size = (size_t)(end - quote - 1)};
	return true;
}

/* Whether a list has our tag. Weak ones are equal to ours only where `weakly` says so. */
static bool names_tag(struct slice list, struct slice etag, bool weakly)
{
	struct slice tag;
	bool weak;

	if (list.size == 1 && *list.data == '*')
		return true;
	while (take_tag(&list, &tag, &weak))
		if (slice_equal(tag, etag) && (weakly || !weak))
			return true;
	return false;
}

int http_conditions_check(
	const struct http_conditions *conditions, const struct http_validators *validators)
{
	time_t date;

	if (conditions->if_match.data != NULL) {
		if (!names_tag(conditions->if_match, validators->etag, false))
			return 412;
	} else if (conditions->if_unmodified_since.data != NULL) {
		if (http_date_read(conditions->if_unmodified_since, &date) == 0 &&
			validators->modified > date)
			return 412;
	}
	if (conditions->if_none_match.data != NULL) {
		if (names_tag(conditions->if_none_match, validators->etag, true))
			return 304;
	} else if (conditions->if_modified_since.data != NULL) {
		if (http_date_read(conditions->if_modified_since, &date) == 0 &&
			validators->modified <= date)
			return 304;
	}
	return 200;
}

bool http_conditions_range(
	const struct http_conditions *conditions, const struct http_validators *validators)
{
	struct slice value = conditions->if_range;
	struct slice tag;
	bool weak;
	time_t date;

	if (conditions->range.data == NULL)
		return false;
	if (value.data == NULL)
		return true;
	if (take_tag(&value, &tag, &weak))
		return !weak && slice_equal(tag, validators->etag);
	/* A date says which version it was only if the file cannot have changed twice in a second
	 * (RFC 9110, 8.8.2.2). */
	return http_date_read(conditions->if_range, &date) == 0 && date == validators->modified &&
	       validators->now - validators->modified > 1;
}
