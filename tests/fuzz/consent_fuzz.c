/*
 * Any head of an answer: consent is given or not, reading stays inside the head, and a rate comes with
 * consent only.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "webhookd/consent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct consent consent, again;
	char *head =
	    malloc(size ? size : 1); /* exactly as large as the head, so that no byte behind it is read unseen */

	if (size > 0)
		memcpy(head, data, size);
	consent_read(head, size, "corbel", &consent);
	consent_read(head, size, "corbel", &again);
	assert(consent.is_given == again.is_given && consent.per_minute == again.per_minute);
	assert(consent.is_given || consent.per_minute == 0);
	free(head);
	return 0;
}
