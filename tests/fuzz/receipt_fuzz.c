/*
 * Any bytes are a receipt or refused; what is accepted is what its parts make.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "webhookd/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char again[RECEIPT_MAX];
	struct receipt receipt;

	if (!receipt_parse((const char *)data, size, &receipt))
		return 0;
	receipt_format(receipt.delivery_id, receipt.number, again);
	assert(strlen(again) == size && memcmp(again, data, size) == 0);
	return 0;
}
