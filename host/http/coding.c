/* Accept-Encoding. No state; used by workers. */
#include "http/coding.h"

#include <stdbool.h>
#include <strings.h>

static const struct slice names[HTTP_CODINGS] = {
	[HTTP_CODING_BROTLI] = SLICE("br"),
	[HTTP_CODING_GZIP] = SLICE("gzip"),
	[HTTP_CODING_IDENTITY] = SLICE("identity"),
};

struct slice http_coding_name(enum http_coding coding)
{
	return names[coding];
}

static struct slice trim(const char *from, const char *to)
{
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	return (struct slice){.data = from, .size = (size_t)(to - from)};
}

static bool is_word(struct slice text, struct slice word)
{
	return text.size == word.size && strncasecmp(text.data, word.data, word.size) == 0;
}

/* RFC 9110, 12.4.2: "q=0.5" in thousandths; 1000 for "", -1 for what is none. */
static int weight_of(struct slice text)
{
	int weight = 0;
	int unit = 1000;

	if (text.size == 0)
		return 1000;
	if (text.size < 3 || text.size > 7 || (text.data[0] | 32) != 'q' || text.data[1] != '=')
		return -1;
	for (size_t i = 2; i < text.size; i++) {
		if (i == 3 && text.data[i] == '.')
			continue;
		if (text.data[i] < '0' || text.data[i] > '9' || i == 3)
			return -1;
		weight += (text.data[i] - '0') * unit;
		unit /= 10;
	}
	return weight > 1000 ? -1 : weight;
}

/* Notes the weight of one element, "gzip;q=0.5"; *any is that of "*". */
static void read_element(struct slice element, int weights[HTTP_CODINGS], int *any)
{
	const char *end = element.data + element.size;
	const char *mark = memchr(element.data, ';', element.size);
	struct slice name = trim(element.data, mark == NULL ? end : mark);
	int weight = weight_of(trim(mark == NULL ? end : mark + 1, end));

	if (weight < 0)
		return;
	if (is_word(name, SLICE("*")))
		*any = weight;
	if (is_word(name, SLICE("x-gzip")))
		name = names[HTTP_CODING_GZIP];
	for (int i = 0; i < HTTP_CODINGS; i++)
		if (is_word(name, names[i]))
			weights[i] = weight;
}

enum http_coding http_coding_choose(struct slice accepted, unsigned available)
{
	int weights[HTTP_CODINGS] = {-1, -1, -1};
	int any = -1;
	enum http_coding best = HTTP_CODING_IDENTITY;
	const char *at = accepted.data;
	const char *end = accepted.data + accepted.size;

	if (accepted.size == 0)
		return best;
	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));

		if (comma == NULL)
			comma = end;
		read_element(trim(at, comma), weights, &any);
		at = comma + 1;
	}
	/* What is not named is not wanted; identity is what is left when nothing else is. */
	for (int i = 0; i < HTTP_CODINGS; i++)
		if (weights[i] < 0)
			weights[i] = any >= 0 ? any : 0;
	for (int i = HTTP_CODING_IDENTITY - 1; i >= 0; i--)
		if ((available & 1u << i) != 0 && weights[i] > 0 && weights[i] >= weights[best])
			best = (enum http_coding)i;
	return best;
}
