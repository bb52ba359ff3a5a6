/*
 * mail: messages to people, made with care and handed to the operator's SMTP server.
 *
 * Writing a message and sending it are apart: what was written can be kept, and sent again as it is. Nothing
 * that comes from outside can add a header, end the message or name another recipient: addresses are of a
 * narrow form, other header texts are encoded words where they are anything but plain, and the body is
 * quoted-printable.
 */
#ifndef CORBEL_MAIL_MAIL_H
#define CORBEL_MAIL_MAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

#define MAIL_ADDRESS_MAX 255 /* with the NUL: RFC 5321 section 4.5.3.1.3 */
#define MAIL_NAME_MAX    128
#define MAIL_SUBJECT_MAX 500
#define MAIL_BYTES_MAX   (256u << 10) /* of a whole message */
#define MAIL_DETAIL_MAX  256

/* "local@domain" in ASCII: a dot-atom of RFC 5322 before the only '@', a host name behind it. */
bool mail_address_is_valid(const char *text);

struct mail_box {
	char name[MAIL_NAME_MAX]; /* "": none */
	char address[MAIL_ADDRESS_MAX];
};
/* "local@domain" or "Name <local@domain>"; the name is UTF-8 without control characters. */
struct status mail_box_parse(const char *text, struct mail_box *out);

struct mail_message {
	const char *id; /* names it for good, of letters, digits, '_', '-': a receiver sees what came twice */
	const struct mail_box *from;
	const char *to;
	const char *subject; /* UTF-8; control characters become spaces */
	const char *text;    /* UTF-8, any line ends */
	int64_t date_ms;
};
/* Adds the message in the form of RFC 5322, with CRLF. INVALID_ARGUMENT names what cannot be sent. */
struct status mail_write(const struct mail_message *message, struct strbuf *out);

enum mail_tls {
	MAIL_TLS_REQUIRED, /* STARTTLS, or nothing is sent */
	MAIL_TLS_OFFERED,  /* STARTTLS when the server has it */
	MAIL_TLS_NONE      /* in the clear */
};

struct mail_server {
	const char *url;     /* smtp://user:password@host:587 or smtps://…; a path is what EHLO says */
	enum mail_tls tls;   /* of smtp:// */
	const char *ca_file; /* authorities to trust, PEM; NULL or "": the system's */
	uint32_t timeout_ms; /* for all of it */
};
/* INVALID_ARGUMENT says what is wrong with it, and repeats nothing of it: it may hold a password. */
struct status mail_check_url(const char *url);

enum mail_result {
	MAIL_SENT,    /* the server has taken it over */
	MAIL_LATER,   /* not now: the server is away, busy, or refuses us */
	MAIL_REFUSED, /* never: the server refuses the recipient or the content for good (5xx) */
	MAIL_STOPPED  /* `*stop` became true */
};
struct mail_report {
	enum mail_result result;
	char detail[MAIL_DETAIL_MAX]; /* for people: the server's own words when it said any; "" when sent */
};
/* Blocks. `text` is what mail_write() wrote. A message that the server took over in the moment when the
 * connection broke is MAIL_LATER: it comes twice, with the same id. */
void mail_send(const struct mail_server *server, const char *from, const char *to, const char *text,
               size_t size, const atomic_bool *stop, struct mail_report *out);

#endif
