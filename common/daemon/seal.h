/*
 * seal: bytes encrypted and authenticated under a 32-byte key: AES-256-GCM (NIST SP 800-38D) with a
 * random 96-bit nonce in front and the 128-bit tag behind.
 */
#ifndef CORBEL_DAEMON_SEAL_H
#define CORBEL_DAEMON_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/random.h"

#define SEAL_KEY_BYTES 32

uint8_t *seal_close(const uint8_t key[SEAL_KEY_BYTES], const struct random *random, const void *bytes,
                    size_t size, struct arena *arena, size_t *sealed_size);
/* NULL when the bytes were not sealed under this key. */
uint8_t *seal_open(const uint8_t key[SEAL_KEY_BYTES], const void *sealed, size_t sealed_size,
                   struct arena *arena, size_t *size);

#endif
