/* The opening handshake: see websocket_handshake.h. No state. Used by workers. */
#include "http/websocket_handshake.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "http/export.h"
#include "http/http_abi.h"
#include "http/request.h"
#include "http/sha1.h"

#define KEY_SIZE 24                                     /* characters of 16 bytes in base64 */
#define GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, 1.3 */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool header(const struct http_request *request, uint64_t serial, const char *name,
	uint32_t nth, struct slice *value)
{
	value->data = http_request_header(request, serial, name, strlen(name), nth, &value->size);
	return value->data != NULL;
}

/* Whether the list in `value` has `token`, in any case. */
static bool list_has(struct slice value, const char *token)
{
	size_t size = strlen(token);
	size_t at = 0;

	while (at < value.size) {
		size_t end;

		while (at < value.size && strchr(" \t,", value.data[at]) != NULL)
			at++;
		end = at;
		while (end < value.size && strchr(" \t,", value.data[end]) == NULL)
			end++;
		if (end - at == size && strncasecmp(value.data + at, token, size) == 0)
			return true;
		at = end;
	}
	return false;
}

static bool header_has(
	const struct http_request *request, uint64_t serial, const char *name, const char *token)
{
	struct slice value;

	for (uint32_t nth = 0; header(request, serial, name, nth, &value); nth++)
		if (list_has(value, token))
			return true;
	return false;
}

/* The value of a header that must be there once. */
static bool header_once(
	const struct http_request *request, uint64_t serial, const char *name, struct slice *value)
{
	struct slice second;

	return header(request, serial, name, 0, value) &&
	       !header(request, serial, name, 1, &second);
}

/* Whether 16 bytes in base64: 22 characters, the last of 2 bits, and the filling. */
static bool key_valid(struct slice key)
{
	if (key.size != KEY_SIZE || memcmp(key.data + KEY_SIZE - 2, "==", 2) != 0)
		return false;
	for (size_t i = 0; i < KEY_SIZE - 2; i++)
		if (key.data[i] == '\0' || strchr(alphabet, key.data[i]) == NULL)
			return false;
	return strchr("AQgw", key.data[KEY_SIZE - 3]) != NULL;
}

HTTP_EXPORT int http_websocket_check(
	const struct http_request *request, uint64_t serial, const char **reason)
{
	const struct http_exchange *exchange = (const struct http_exchange *)(const void *)request;
	struct slice value;

	if (request->serial != serial || request->state != HTTP_REQUEST_WAITING)
		return -1;
	*reason = "this is a WebSocket: ask for an upgrade";
	if (request->method_size != 3 || memcmp(request->method, "GET", 3) != 0 ||
		request->version_minor == 0 ||
		!header_has(request, serial, "upgrade", "websocket") ||
		!header_has(request, serial, "connection", "upgrade"))
		return 426;
	*reason = "only version 13 of the WebSocket protocol is spoken here";
	if (!header_once(request, serial, "sec-websocket-version", &value) || value.size != 2 ||
		memcmp(value.data, "13", 2) != 0)
		return 426;
	*reason = "the Sec-WebSocket-Key is not 16 bytes in base64";
	if (!header_once(request, serial, "sec-websocket-key", &value) || !key_valid(value))
		return 400;
	*reason = "a request for a WebSocket has no body";
	return exchange->complete && request->body_size == 0 ? 0 : 400;
}

/* 20 bytes to 28 characters. */
static void encode(const uint8_t digest[SHA1_SIZE], char text[WEBSOCKET_ACCEPT_SIZE + 1])
{
	uint8_t bytes[SHA1_SIZE + 1] = {0};

	memcpy(bytes, digest, SHA1_SIZE);
	for (int i = 0; i < WEBSOCKET_ACCEPT_SIZE / 4; i++) {
		const uint8_t *at = bytes + (size_t)i * 3;
		uint32_t word = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];

		for (int k = 0; k < 4; k++)
			text[i * 4 + k] = alphabet[word >> (18 - 6 * k) & 0x3f];
	}
	text[WEBSOCKET_ACCEPT_SIZE - 1] = '=';
	text[WEBSOCKET_ACCEPT_SIZE] = '\0';
}

void websocket_accept_key(
	const struct http_request *request, uint64_t serial, char accept[WEBSOCKET_ACCEPT_SIZE + 1])
{
	char input[KEY_SIZE + sizeof(GUID)];
	uint8_t digest[SHA1_SIZE];
	struct slice key;

	CHECK(header_once(request, serial, "sec-websocket-key", &key));
	CHECK(key.size == KEY_SIZE);
	memcpy(input, key.data, KEY_SIZE);
	memcpy(input + KEY_SIZE, GUID, sizeof(GUID));
	sha1(input, KEY_SIZE + sizeof(GUID) - 1, digest);
	encode(digest, accept);
}

int websocket_agree_extensions(
	const struct http_request *request, uint64_t serial, char answer[WEBSOCKET_ANSWER_MAX])
{
	struct slice value;

	for (uint32_t nth = 0; header(request, serial, "sec-websocket-extensions", nth, &value);
		nth++) {
		int bits = websocket_deflate_agree(value, answer);

		if (bits != 0)
			return bits;
	}
	return 0;
}
