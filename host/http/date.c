/* The Date header. One per server; used by workers. */
#include "http/date.h"

#include <stdio.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* By hand because strftime follows the locale. */
static void write_line(struct http_date *date)
{
	struct tm utc;

	(void)gmtime_r(&date->second, &utc);
	(void)snprintf(date->line, sizeof date->line,
		"Date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n", days[utc.tm_wday],
		(unsigned)utc.tm_mday % 100, months[utc.tm_mon],
		(unsigned)(utc.tm_year + 1900) % 10000, (unsigned)utc.tm_hour % 100,
		(unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100);
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
