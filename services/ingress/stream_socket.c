/*
 * stream_socket: see stream_socket.h.
 *
 * wslay's context is as large as everything else of a stream several times over, and clients say next to
 * nothing: it is made when there are bytes and freed again when they end with a frame. So bytes are counted:
 * those given to wslay, and those of the frames that it has told of.
 */
#include "stream_socket.h"

#include <string.h>
#include <wslay/wslay.h>

#define MESSAGE_MAX             4096u /* of what is refused in any case, so that a long one is refused sooner */
#define CLOSE_MAX               125u
#define MASK_BYTES              4u
#define HEAD_BYTES              2u
#define OPCODE_PING             0x9u
#define OPCODE_CLOSE            0x8u
#define CODE_PROTOCOL_ERROR     1002u
#define CODE_REFUSED            1003u /* "unsupported data" */
#define OPCODE_IS_CONTROL(code) (((code)&0x8u) != 0)

struct stream_socket {
	wslay_event_context_ptr wslay;
	struct stream *stream;
	const uint8_t *input; /* while it is taken */
	size_t input_size;
	uint64_t given, told; /* bytes: to wslay, and of frames that have ended */
	uint64_t frame_bytes; /* of the frame under way */
	bool is_final, is_control, is_amid_message, is_broken;
};

/* ---- what wslay calls ---- */

static ssize_t
give(wslay_event_context_ptr wslay, uint8_t *out, size_t size, int flags, void *arg)
{
	struct stream_socket *socket = arg;
	(void)flags;

	if (socket->input_size == 0) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (size > socket->input_size)
		size = socket->input_size;
	memcpy(out, socket->input, size);
	socket->input += size;
	socket->input_size -= size;
	socket->given += size;
	return (ssize_t)size;
}

static ssize_t
take_answer(wslay_event_context_ptr wslay, const uint8_t *bytes, size_t size, int flags, void *arg)
{
	struct stream_socket *socket = arg;
	(void)wslay;
	(void)flags;

	stream_say_raw(socket->stream, bytes, size);
	return (ssize_t)size;
}

static void
frame_begins(wslay_event_context_ptr wslay, const struct wslay_event_on_frame_recv_start_arg *frame,
             void *arg)
{
	struct stream_socket *socket = arg;
	uint64_t size = frame->payload_length;
	(void)wslay;

	socket->frame_bytes = HEAD_BYTES + (size < 126 ? 0u : size <= UINT16_MAX ? 2u : 8u) + MASK_BYTES + size;
	socket->is_final = frame->fin;
	socket->is_control = OPCODE_IS_CONTROL(frame->opcode);
	/* The code of a close frame has two bytes, if there is one (RFC 6455 section 5.5.1); wslay lets one pass.
	 */
	socket->is_broken = socket->is_broken || (frame->opcode == OPCODE_CLOSE && size == 1);
}

static void
frame_ends(wslay_event_context_ptr wslay, void *arg)
{
	struct stream_socket *socket = arg;
	(void)wslay;

	socket->told += socket->frame_bytes;
	if (!socket->is_control)
		socket->is_amid_message = !socket->is_final;
}

static void
message_came(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
	static const char REASON[] = "a stream takes no messages";
	(void)arg;

	if (!OPCODE_IS_CONTROL(message->opcode))
		(void)wslay_event_queue_close(wslay, CODE_REFUSED, (const uint8_t *)REASON, sizeof(REASON) - 1);
}

/* ---- taking ---- */

static struct stream_socket *
socket_new(struct stream *stream)
{
	static const struct wslay_event_callbacks CALLBACKS = {.recv_callback = give,
	                                                       .send_callback = take_answer,
	                                                       .on_frame_recv_start_callback = frame_begins,
	                                                       .on_frame_recv_end_callback = frame_ends,
	                                                       .on_msg_recv_callback = message_came};
	struct stream_socket *socket = mem_alloc(sizeof(*socket));

	socket->stream = stream;
	if (wslay_event_context_server_init(&socket->wslay, &CALLBACKS, socket) != 0) {
		mem_free(socket);
		return NULL;
	}
	wslay_event_config_set_max_recv_msg_length(socket->wslay, MESSAGE_MAX);
	return socket;
}

void
stream_socket_free(struct stream_socket *socket)
{
	if (!socket)
		return;
	wslay_event_context_free(socket->wslay);
	mem_free(socket);
}

static bool
is_over(const struct stream_socket *socket)
{
	return wslay_event_get_close_received(socket->wslay) || wslay_event_get_close_sent(socket->wslay) ||
	       !wslay_event_get_read_enabled(socket->wslay);
}

bool
stream_socket_take(struct stream *stream, const uint8_t *bytes, size_t size)
{
	struct stream_socket *socket = stream->socket ? stream->socket : socket_new(stream);
	bool is_good;

	stream->socket = socket;
	if (!socket)
		return false;
	socket->input = bytes;
	socket->input_size = size;
	is_good = wslay_event_recv(socket->wslay) == 0 && !socket->is_broken;
	/* Once the stream has said that it ends, all that counts is that the client has, too. Of frames that
	 * cannot be read wslay says no more than that. */
	if (!is_good && !stream->is_ending)
		stream_socket_say_close(stream, CODE_PROTOCOL_ERROR, "not a frame of a client");
	else if (!stream->is_ending)
		(void)wslay_event_send(socket->wslay);
	if (!is_good || is_over(socket))
		return false;
	if (socket->given == socket->told && !socket->is_amid_message) {
		stream_socket_free(socket);
		stream->socket = NULL;
	}
	return true;
}

/* ---- saying ---- */

static void
say_frame(struct stream *stream, uint8_t opcode, const void *payload, size_t size)
{
	uint8_t head[STREAM_FRAME_HEAD_MAX];

	stream_say_raw(stream, head, stream_frame_head(opcode, size, head));
	stream_say_raw(stream, payload, size);
}

void
stream_socket_say_ping(struct stream *stream)
{
	say_frame(stream, OPCODE_PING, NULL, 0);
}

void
stream_socket_say_close(struct stream *stream, uint16_t code, const char *reason)
{
	uint8_t payload[CLOSE_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
	size_t size = strnlen(reason, CLOSE_MAX - 2);

	memcpy(payload + 2, reason, size);
	say_frame(stream, OPCODE_CLOSE, payload, 2 + size);
}
