/* Reading Range. No state; used by workers. */
#include "http/range.h"

#include <stdbool.h>
#include <strings.h>

#define NOT_GIVEN UINT64_MAX

/* Takes digits from the front. A number too big for us is beyond every file all the same. */
static uint64_t take_number(struct slice *text)
{
	uint64_t number = 0;

	if (text->size == 0 || *text->data < '0' || *text->data > '9')
		return NOT_GIVEN;
	while (text->size != 0 && *text->data >= '0' && *text->data <= '9') {
		if (number < UINT64_MAX / 100)
			number = number * 10 + (uint64_t)(*text->data - '0');
		text->data++;
		text->size--;
	}
	return number;
}

static bool take(struct slice *text, char c)
{
	if (text->size == 0 || *text->data != c)
		return false;
	text->data++;
	text->size--;
	return true;
}

static void take_blanks(struct slice *text)
{
	while (take(text, ' ') || take(text, '\t'))
		continue;
}

/* Joins ranges[count] with those it overlaps or touches. Returns the new count. */
static int join(struct http_range *ranges, int count)
{
	struct http_range new = ranges[count];
	int kept = 0;
	int place = count;

	for (int i = 0; i < count; i++) {
		if (ranges[i].first > new.end || ranges[i].end < new.first) {
			ranges[kept++] = ranges[i];
			continue;
		}
		if (ranges[i].first < new.first)
			new.first = ranges[i].first;
		if (ranges[i].end > new.end)
			new.end = ranges[i].end;
		if (place == count) {
			place = kept;
			kept++;
		}
	}
	if (place == count)
		place = kept++;
	ranges[place] = new;
	return kept;
}

/* Reads "first-", "first-last" or "-length". Returns 1 with a range, 0 when it lies outside, -1
 * when it is none. */
static int take_range(struct slice *text, uint64_t size, struct http_range *ret_range)
{
	uint64_t first = take_number(text);
	uint64_t last;

	if (!take(text, '-'))
		return -1;
	last = take_number(text);
	if (first == NOT_GIVEN && last == NOT_GIVEN)
		return -1;
	if (first != NOT_GIVEN && last != NOT_GIVEN && last < first)
		return -1;
	if (first == NOT_GIVEN) {
		first = last < size ? size - last : 0;
		last = last == 0 ? 0 : size;
	} else {
		last = last < size ? last + 1 : size;
	}
	*ret_range = (struct http_range){.first = first, .end = last};
	return first < last ? 1 : 0;
}

int http_range_read(
	struct slice value, uint64_t size, struct http_range ret_ranges[HTTP_RANGES_MAX])
{
	static const struct slice unit = SLICE("bytes=");
	int count = 0;
	int asked = 0;

	if (value.size < unit.size || strncasecmp(value.data, unit.data, unit.size) != 0)
		return -1;
	value.data += unit.size;
	value.size -= unit.size;
	for (;;) {
		take_blanks(&value);
		if (value.size == 0)
			break;
		if (take(&value, ','))
			continue; /* RFC 9110, 5.6.1: empty elements of a list are ignored */
		if (asked++ == HTTP_RANGES_MAX)
			return -1;
		switch (take_range(&value, size, &ret_ranges[count])) {
		case 1:
			count = join(ret_ranges, count);
			break;
		case 0:
			break;
		default:
			return -1;
		}
		take_blanks(&value);
		if (value.size != 0 && *value.data != ',')
			return -1;
	}
	return asked == 0 ? -1 : count;
}
