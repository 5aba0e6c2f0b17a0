/* The Date header, one per server, and dates as text. Used by workers. */
#include "http/date.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* By hand because strftime follows the locale. */
void http_date_write(time_t time, char ret_text[HTTP_DATE_SIZE + 1])
{
	struct tm utc;

	(void)gmtime_r(&time, &utc);
	(void)snprintf(ret_text, HTTP_DATE_SIZE + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT",
		days[utc.tm_wday], (unsigned)utc.tm_mday % 100, months[utc.tm_mon],
		(unsigned)(utc.tm_year + 1900) % 10000, (unsigned)utc.tm_hour % 100,
		(unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100);
}

static void write_line(struct http_date *date)
{
	char text[HTTP_DATE_SIZE + 1];

	http_date_write(date->second, text);
	(void)snprintf(date->line, sizeof date->line, "Date: %s\r\n", text);
}

const char *http_date_line(struct http_date *date, uint64_t now)
{
	time_t second;

	if (now == date->checked && date->second != 0)
		return date->line;
	date->checked = now;
	second = time(NULL);
	if (second != date->second) {
		date->second = second;
		write_line(date);
	}
	return date->line;
}

time_t http_date_now(struct http_date *date, uint64_t now)
{
	(void)http_date_line(date, now);
	return date->second;
}

/* ---- Reading ------------------------------------------------------------------------------- */

/*
 * Reads `text` by a pattern: D a digit of the day, Y of the year, h m s of the time, @ the month's
 * name, w a letter of the day's name, anything else itself. Returns whether it fits; the year is as
 * written.
 */
static bool fits(const char *text, const char *pattern, struct tm *ret_parts)
{
	struct tm parts = {.tm_mon = -1};

	for (; *pattern != '\0'; pattern++, text++) {
		int *number = *pattern == 'D'   ? &parts.tm_mday
			      : *pattern == 'Y' ? &parts.tm_year
			      : *pattern == 'h' ? &parts.tm_hour
			      : *pattern == 'm' ? &parts.tm_min
			      : *pattern == 's' ? &parts.tm_sec
						: NULL;

		if (number != NULL) {
			if (*text < '0' || *text > '9')
				return false;
			*number = *number * 10 + (*text - '0');
		} else if (*pattern == '@') {
			for (int i = 0; i < 12 && parts.tm_mon < 0; i++)
				if (strncmp(text, months[i], 3) == 0)
					parts.tm_mon = i;
			if (parts.tm_mon < 0)
				return false;
			text += 2;
		} else if (*pattern == 'w' ? (*text | 32) < 'a' || (*text | 32) > 'z'
					   : *text != *pattern) {
			return false;
		}
	}
	*ret_parts = parts;
	return *text == '\0';
}

/* A year of two digits that seems more than 50 years ahead is of the last century. */
static void complete_year(struct tm *parts)
{
	time_t now = time(NULL);
	struct tm utc;

	(void)gmtime_r(&now, &utc);
	parts->tm_year += (utc.tm_year + 1900) / 100 * 100;
	if (parts->tm_year > utc.tm_year + 1900 + 50)
		parts->tm_year -= 100;
}

int http_date_read(struct slice text, time_t *ret_time)
{
	char copy[48];
	const char *short_year = memchr(text.data, ',', text.size);
	struct tm parts;

	if (text.size < HTTP_DATE_SIZE - 5 || text.size >= sizeof copy)
		return -1;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	if (short_year != NULL &&
		fits(copy + (short_year - text.data), ", DD-@-YY hh:mm:ss GMT", &parts))
		complete_year(&parts);
	else if (!fits(copy, "www, DD @ YYYY hh:mm:ss GMT", &parts) &&
		 !fits(copy, "www @ DD hh:mm:ss YYYY", &parts) &&
		 !fits(copy, "www @  D hh:mm:ss YYYY", &parts))
		return -1;
	if (parts.tm_mday < 1 || parts.tm_mday > 31 || parts.tm_hour > 23 || parts.tm_min > 59 ||
		parts.tm_sec > 60)
		return -1;
	parts.tm_year -= 1900;
	*ret_time = timegm(&parts);
	return 0;
}
