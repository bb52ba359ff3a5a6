/*
 * mail: what its files share.
 */
#ifndef CORBEL_MAIL_INTERNAL_H
#define CORBEL_MAIL_INTERNAL_H

#include "mail/mail.h"

/* ---- mail_words.c ---- */
/* Adds the value of a header: as it is when it is plain and short, else as encoded words of RFC 2047, folded.
 * `text` is UTF-8. */
void mail_words_add(struct strbuf *out, const char *text);
/* Adds a body: quoted-printable (RFC 2045 section 6.7), lines of at most 76 characters, CRLF, one at the end.
 */
void mail_quoted_add(struct strbuf *out, const char *text);

#endif
