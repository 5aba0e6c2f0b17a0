/* Request-targets (RFC 9112, 3.2) and Host values (RFC 9110, 7.2). No state. Used by workers. */
#include "http/target.h"

#include <string.h>
#include <strings.h>

/* What RFC 3986 lets stand in a registered name, an IP literal and a port. */
static const bool host_character[256] = {
	['0' ... '9'] = true,
	['A' ... 'Z'] = true,
	['a' ... 'z'] = true,
	['-'] = true,
	['.'] = true,
	['_'] = true,
	['~'] = true,
	['%'] = true,
	['!'] = true,
	['$'] = true,
	['&'] = true,
	['\''] = true,
	['('] = true,
	[')'] = true,
	['*'] = true,
	['+'] = true,
	[','] = true,
	[';'] = true,
	['='] = true,
	[':'] = true,
	['['] = true,
	[']'] = true,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool http_host_valid(struct slice host)
{
	const char *at = host.data;
	const char *end = at + host.size;

	while (at < end && host_character[(unsigned char)*at])
		at++;
	return at == end;
}

/* Takes "http://host" off the front. Returns 0, or -1 when it is not there. */
static int strip_authority(struct slice *target, struct slice *ret_host)
{
	static const struct slice schemes[] = {SLICE("http://"), SLICE("https://")};
	struct slice host;
	size_t size = 0;

	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0] && size == 0; i++)
		if (target->size > schemes[i].size &&
			strncasecmp(target->data, schemes[i].data, schemes[i].size) == 0)
			size = schemes[i].size;
	if (size == 0)
		return -1;
	host.data = target->data + size;
	while (size < target->size && target->data[size] != '/' && target->data[size] != '?')
		size++;
	host.size = (size_t)(target->data + size - host.data);
	if (host.size == 0 || !http_host_valid(host))
		return -1;
	*ret_host = host;
	target->data += size;
	target->size -= size;
	return 0;
}

/* Finds path and query, in one walk as most targets are short. Returns 0, or -1 when there is a
 * "#", which no target has. */
static int divide(struct slice target, struct http_target *parts)
{
	static const bool special[256] = {['#'] = true, ['?'] = true, ['%'] = true};
	const char *end = target.data + target.size;
	const char *mark = NULL;

	for (const char *at = target.data; at < end; at++) {
		if (!special[(unsigned char)*at])
			continue;
		if (*at == '#')
			return -1;
		if (*at == '?' && mark == NULL)
			mark = at;
		else if (*at == '%' && mark == NULL)
			parts->escaped = true;
	}
	parts->path = target;
	if (mark == NULL)
		return 0;
	parts->path.size = (size_t)(mark - target.data);
	parts->query.data = mark + 1;
	parts->query.size = (size_t)(end - mark - 1);
	return 0;
}

int http_target_split(struct slice target, bool is_options, struct http_target *ret_parts)
{
	struct http_target parts = {0};

	if (target.size == 1 && target.data[0] == '*' && is_options) {
		parts.path = target;
		*ret_parts = parts;
		return 0;
	}
	if (target.size == 0)
		return -1;
	if (target.data[0] != '/' && strip_authority(&target, &parts.authority) != 0)
		return -1;
	if (divide(target, &parts) != 0)
		return -1;
	if (parts.path.size == 0)
		parts.path = SLICE("/");
	*ret_parts = parts;
	return 0;
}

long http_target_decode(struct slice path, char *to)
{
	long size = 0;

	for (size_t i = 0; i < path.size; i++) {
		char c = path.data[i];

		if (c == '%') {
			int high = i + 1 < path.size ? hex_digit(path.data[i + 1]) : -1;
			int low = i + 2 < path.size ? hex_digit(path.data[i + 2]) : -1;

			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return -1;
			c = (char)(high << 4 | low);
			i += 2;
		}
		to[size++] = c;
	}
	return size;
}
