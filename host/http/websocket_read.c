/* Frames to messages: see websocket_read.h. Works on the WebSocket it is given; used by workers. */
#include "http/websocket_read.h"

#include <stdio.h>
#include <string.h>

#include "http/server_state.h"
#include "http/websocket.h"
#include "http/websocket_deflate.h"

/* What compressing may add to a message that does not get shorter: 5 bytes for each 16 KiB. */
#define COMPRESSED_LIMIT(limit) ((limit) + (limit) / 1024 + 64)

static const struct http_config *config_of(const struct http_websocket *websocket)
{
	return websocket->server->config;
}

static bool is_control(uint8_t opcode)
{
	return (opcode & 0x8) != 0;
}

/* ---- Control frames ------------------------------------------------------------------------ */

static void on_close(struct http_websocket *websocket)
{
	const uint8_t *bytes = (const uint8_t *)websocket->control;
	size_t size = websocket->control_size;
	int code = WEBSOCKET_CODE_NONE_GIVEN;

	if (websocket->state == WEBSOCKET_CLOSING) {
		http_websocket_set_closed(websocket);
		return;
	}
	if (size >= 2)
		code = bytes[0] << 8 | bytes[1];
	if (size == 1 || (size >= 2 && !websocket_code_valid(code))) {
		http_websocket_fail(websocket, WEBSOCKET_CODE_PROTOCOL, "an invalid close code");
		return;
	}
	if (size > 2 && !websocket_utf8_valid(websocket->control + 2, size - 2)) {
		http_websocket_fail(
			websocket, WEBSOCKET_CODE_BAD_DATA, "a close reason that is no UTF-8");
		return;
	}
	websocket->close_code = code;
	websocket->reason_size = (uint8_t)(size > 2 ? size - 2 : 0);
	memcpy(websocket->reason, websocket->control + size - websocket->reason_size,
		websocket->reason_size);
	http_websocket_send_frame(websocket, WEBSOCKET_CLOSE, false,
		(struct slice){.data = websocket->control, .size = size >= 2 ? 2 : 0});
	http_websocket_set_closed(websocket);
}

static void on_control(struct http_websocket *websocket, uint8_t opcode)
{
	struct slice payload = {.data = websocket->control, .size = websocket->control_size};

	if (opcode == WEBSOCKET_CLOSE)
		on_close(websocket);
	else if (opcode == WEBSOCKET_PING && websocket->state == WEBSOCKET_OPEN)
		http_websocket_send_frame(websocket, WEBSOCKET_PONG, false, payload);
	websocket->control_size = 0;
}

/* ---- Messages ------------------------------------------------------------------------------ */

static void too_big(struct http_websocket *websocket)
{
	char text[80];

	(void)snprintf(text, sizeof text, "a message of more than %u bytes",
		config_of(websocket)->websocket_message_limit);
	http_websocket_fail(websocket, WEBSOCKET_CODE_TOO_BIG, text);
}

/* Returns 0, or -1 after closing. */
static int decompress(struct http_websocket *websocket)
{
	switch (websocket_inflate(
		&websocket->message, config_of(websocket)->websocket_message_limit)) {
	case WEBSOCKET_INFLATED:
		return 0;
	case WEBSOCKET_INFLATE_TOO_LONG:
		too_big(websocket);
		return -1;
	case WEBSOCKET_INFLATE_BROKEN:
		http_websocket_fail(
			websocket, WEBSOCKET_CODE_BAD_DATA, "a message that cannot be inflated");
		return -1;
	case WEBSOCKET_INFLATE_NO_MEMORY:
		break;
	}
	http_websocket_fail(websocket, WEBSOCKET_CODE_INTERNAL, "memory is out");
	return -1;
}

/* Whether more of `text`, all that there is of a message, is UTF-8; if not, closes. */
static bool check_text(struct http_websocket *websocket, struct slice text)
{
	size_t checked = websocket->checked;

	websocket->checked = text.size;
	if (websocket_utf8_valid(text.data + checked, text.size - checked))
		return true;
	http_websocket_fail(websocket, WEBSOCKET_CODE_BAD_DATA, "a text that is no UTF-8");
	return false;
}

/* A fragment is complete, and others follow: a text may be refused already. */
static void on_fragment(struct http_websocket *websocket)
{
	struct slice text = {.data = websocket->message.data};

	if (websocket->opcode != WEBSOCKET_TEXT || websocket->compressed ||
		websocket->message.size == 0 || websocket->state != WEBSOCKET_OPEN)
		return;
	text.size = websocket_utf8_whole(text.data, websocket->message.size);
	(void)check_text(websocket, text);
}

/* A message is complete: `whole` where it was read, or in `message` when that has no data. */
static void on_message(struct http_websocket *websocket, struct slice whole)
{
	uint8_t opcode = websocket->opcode;

	websocket->opcode = 0;
	if (websocket->state != WEBSOCKET_OPEN)
		return;
	if (websocket->compressed && decompress(websocket) != 0)
		return;
	if (whole.data == NULL)
		whole = (struct slice){
			.data = websocket->message.data, .size = websocket->message.size};
	if (opcode == WEBSOCKET_TEXT && !check_text(websocket, whole))
		return;
	websocket->ready = whole;
	websocket->ready_kind =
		opcode == WEBSOCKET_TEXT ? HTTP_WEBSOCKET_TEXT : HTTP_WEBSOCKET_BINARY;
}

int websocket_keep_ready(struct http_websocket *websocket)
{
	struct slice ready = websocket->ready;

	if (websocket->ready_kind == 0 || ready.size == 0 || ready.data == websocket->message.data)
		return 0;
	websocket->message.size = 0;
	if (buffer_add(&websocket->message, ready.data, ready.size) != 0)
		return -1;
	websocket->ready.data = websocket->message.data;
	return 0;
}

/* ---- Frames -------------------------------------------------------------------------------- */

/* A data frame's header is complete. Returns 0, or -1 after closing. */
static int begin_data(struct http_websocket *websocket)
{
	const struct websocket_frame *frame = &websocket->frame;
	uint64_t limit = config_of(websocket)->websocket_message_limit;

	if ((frame->opcode == WEBSOCKET_CONTINUATION) != (websocket->opcode != 0)) {
		http_websocket_fail(websocket, WEBSOCKET_CODE_PROTOCOL,
			websocket->opcode == 0 ? "a continuation of nothing"
					       : "a message inside another");
		return -1;
	}
	if (websocket->opcode == 0) {
		websocket->opcode = frame->opcode;
		websocket->compressed = frame->compressed;
		websocket->message.size = 0;
		websocket->checked = 0;
	}
	if (websocket->state != WEBSOCKET_OPEN)
		return 0; /* it will be dropped, however long it is */
	if (websocket->compressed)
		limit = COMPRESSED_LIMIT(limit);
	if (frame->left > limit || websocket->message.size > limit - frame->left) {
		too_big(websocket);
		return -1;
	}
	return 0;
}

static void end_frame(struct http_websocket *websocket, struct slice whole)
{
	struct websocket_frame frame = websocket->frame;

	websocket->frame = (struct websocket_frame){0};
	if (is_control(frame.opcode))
		on_control(websocket, frame.opcode);
	else if (frame.fin)
		on_message(websocket, whole);
	else
		on_fragment(websocket);
}

static size_t read_header(struct http_websocket *websocket, const char *data, size_t size)
{
	struct websocket_frame *frame = &websocket->frame;
	const char *error = NULL;
	size_t used = websocket_frame_read(frame, data, size, websocket->window_bits != 0, &error);

	if (error != NULL) {
		http_websocket_fail(websocket, WEBSOCKET_CODE_PROTOCOL, error);
		return size;
	}
	if (!frame->complete)
		return used;
	if (!is_control(frame->opcode) && begin_data(websocket) != 0)
		return size;
	if (frame->left == 0)
		end_frame(websocket, (struct slice){0});
	return used;
}

/* Keeps payload bytes for when their message is complete. Returns 0, or -1 after closing. */
static int keep_payload(struct http_websocket *websocket, const char *data, size_t size)
{
	if (is_control(websocket->frame.opcode)) {
		memcpy(websocket->control + websocket->control_size, data, size);
		websocket->control_size = (uint8_t)(websocket->control_size + size);
		return 0;
	}
	if (websocket->state != WEBSOCKET_OPEN)
		return 0;
	if (buffer_add(&websocket->message, data, size) == 0)
		return 0;
	http_websocket_fail(websocket, WEBSOCKET_CODE_INTERNAL, "memory is out");
	return -1;
}

static size_t read_payload(struct http_websocket *websocket, char *data, size_t size)
{
	struct websocket_frame *frame = &websocket->frame;
	size_t taken = frame->left < size ? (size_t)frame->left : size;
	bool whole = taken == frame->left && frame->fin && !is_control(frame->opcode) &&
		     websocket->message.size == 0 && !websocket->compressed;

	websocket_frame_unmask(frame, data, taken);
	if (!whole && keep_payload(websocket, data, taken) != 0)
		return size;
	frame->left -= taken;
	if (frame->left == 0)
		end_frame(websocket,
			whole ? (struct slice){.data = data, .size = taken} : (struct slice){0});
	return taken;
}

size_t websocket_read(struct http_websocket *websocket, char *data, size_t size)
{
	size_t used = 0;

	while (used < size && websocket->ready_kind == 0 && websocket->state != WEBSOCKET_CLOSED) {
		if (websocket->frame.complete)
			used += read_payload(websocket, data + used, size - used);
		else
			used += read_header(websocket, data + used, size - used);
	}
	return used;
}
