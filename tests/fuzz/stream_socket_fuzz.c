/*
 * Any bytes of a WebSocket's client, in pieces of the first byte's size: they are taken, refused with a close
 * frame, or end the stream; what is answered is bounded by what came.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "ingress/stream_socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream stream;
	bool goes_on = true;

	if (size < 2)
		return 0;
	memset(&stream, 0, sizeof(stream));
	stream.kind = STREAM_WEBSOCKET;
	size_t piece = data[0] ? data[0] : 1;
	for (size_t at = 1; at < size && goes_on; at += piece)
		goes_on = stream_socket_take(&stream, data + at, piece < size - at ? piece : size - at);
	assert(stream.words_size <= size + 128);
	assert(goes_on || stream.words_size >= 2);
	stream_socket_free(stream.socket);
	mem_free(stream.words);
	return 0;
}
