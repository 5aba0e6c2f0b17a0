/* Status lines and content types: constant tables. Used by workers. */
#include "http/status.h"

#include "http/http_abi.h"

#define LINE_PREFIX (sizeof("HTTP/1.1 404 ") - 1)

#define STATUS(code, reason) [(code)-HTTP_STATUS_FIRST] = SLICE("HTTP/1.1 " #code " " reason "\r\n")

/* The IANA registry, 200 to 599. */
static const struct slice lines[HTTP_STATUS_LAST - HTTP_STATUS_FIRST + 1] = {
	STATUS(200, "OK"),
	STATUS(201, "Created"),
	STATUS(202, "Accepted"),
	STATUS(203, "Non-Authoritative Information"),
	STATUS(204, "No Content"),
	STATUS(205, "Reset Content"),
	STATUS(206, "Partial Content"),
	STATUS(207, "Multi-Status"),
	STATUS(208, "Already Reported"),
	STATUS(226, "IM Used"),
	STATUS(300, "Multiple Choices"),
	STATUS(301, "Moved Permanently"),
	STATUS(302, "Found"),
	STATUS(303, "See Other"),
	STATUS(304, "Not Modified"),
	STATUS(305, "Use Proxy"),
	STATUS(307, "Temporary Redirect"),
	STATUS(308, "Permanent Redirect"),
	STATUS(400, "Bad Request"),
	STATUS(401, "Unauthorized"),
	STATUS(402, "Payment Required"),
	STATUS(403, "Forbidden"),
	STATUS(404, "Not Found"),
	STATUS(405, "Method Not Allowed"),
	STATUS(406, "Not Acceptable"),
	STATUS(407, "Proxy Authentication Required"),
	STATUS(408, "Request Timeout"),
	STATUS(409, "Conflict"),
	STATUS(410, "Gone"),
	STATUS(411, "Length Required"),
	STATUS(412, "Precondition Failed"),
	STATUS(413, "Content Too Large"),
	STATUS(414, "URI Too Long"),
	STATUS(415, "Unsupported Media Type"),
	STATUS(416, "Range Not Satisfiable"),
	STATUS(417, "Expectation Failed"),
	STATUS(418, "I'm a teapot"),
	STATUS(421, "Misdirected Request"),
	STATUS(422, "Unprocessable Content"),
	STATUS(423, "Locked"),
	STATUS(424, "Failed Dependency"),
	STATUS(425, "Too Early"),
	STATUS(426, "Upgrade Required"),
	STATUS(428, "Precondition Required"),
	STATUS(429, "Too Many Requests"),
	STATUS(431, "Request Header Fields Too Large"),
	STATUS(451, "Unavailable For Legal Reasons"),
	STATUS(500, "Internal Server Error"),
	STATUS(501, "Not Implemented"),
	STATUS(502, "Bad Gateway"),
	STATUS(503, "Service Unavailable"),
	STATUS(504, "Gateway Timeout"),
	STATUS(505, "HTTP Version Not Supported"),
	STATUS(506, "Variant Also Negotiates"),
	STATUS(507, "Insufficient Storage"),
	STATUS(508, "Loop Detected"),
	STATUS(510, "Not Extended"),
	STATUS(511, "Network Authentication Required"),
};

static const struct slice types[] = {
	[HTTP_TYPE_TEXT] = SLICE("Content-Type: text/plain; charset=utf-8\r\n"),
	[HTTP_TYPE_HTML] = SLICE("Content-Type: text/html; charset=utf-8\r\n"),
	[HTTP_TYPE_JSON] = SLICE("Content-Type: application/json\r\n"),
};

struct slice http_status_line(int status)
{
	if (status < HTTP_STATUS_FIRST || status > HTTP_STATUS_LAST)
		return (struct slice){0};
	return lines[status - HTTP_STATUS_FIRST];
}

struct slice http_status_reason(int status)
{
	struct slice line = http_status_line(status);

	if (line.size == 0)
		return line;
	return (struct slice){.data = line.data + LINE_PREFIX, .size = line.size - LINE_PREFIX - 2};
}

struct slice http_type_line(int type)
{
	if (type < 0 || (size_t)type >= sizeof types / sizeof types[0])
		return (struct slice){0};
	return types[type];
}
