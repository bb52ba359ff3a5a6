/*
 * top_view: a reading as a screenful of text.
 */
#ifndef CORBEL_CLI_TOP_VIEW_H
#define CORBEL_CLI_TOP_VIEW_H

#include "base/text.h"
#include "top_model.h"

struct top_screen {
	unsigned columns, lines; /* 0: as many as there are */
	bool has_colours;
};

struct top_status {
	const char *where;  /* the addresses asked */
	const char *health; /* a line about each service, or what is out of reach */
	bool is_healthy;
	uint64_t interval_ms;
	int64_t now_s; /* Unix time, for "up" */
};

/* Lines separated by '\n', none at the end; each fits the width. `reading` holds rates. */
void top_view(const struct top_reading *reading, const struct top_status *status,
              const struct top_screen *screen, struct strbuf *out);

#endif
