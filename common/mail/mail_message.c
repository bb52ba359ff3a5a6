/*
 * mail_message: one message in the form of RFC 5322, with the parts of MIME that a text needs.
 */
#include <string.h>
#include <time.h>

#include "mail/mail_internal.h"

static void
add_date(struct strbuf *out, int64_t ms)
{
	static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)(ms / 1000);
	struct tm t;

	gmtime_r(&seconds, &t);
	strbuf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", DAYS[t.tm_wday], t.tm_mday,
	              MONTHS[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static void
add_from(struct strbuf *out, const struct mail_box *from)
{
	strbuf_puts(out, "From: ");
	if (from->name[0]) {
		mail_words_add(out, from->name);
		strbuf_puts(out, "\r\n <");
		strbuf_puts(out, from->address);
		strbuf_puts(out, ">\r\n");
	} else {
		strbuf_puts(out, from->address);
		strbuf_puts(out, "\r\n");
	}
}

static bool
is_id(const char *text)
{
	static const char ALLOWED[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t length = strlen(text);

	return length > 0 && length <= 64 && strspn(text, ALLOWED) == length;
}

static struct status
check(const struct mail_message *message)
{
	if (!is_id(message->id))
		return status_make(STATUS_INVALID_ARGUMENT, "the message's id cannot be used");
	if (!mail_address_is_valid(message->from->address))
		return status_make(STATUS_INVALID_ARGUMENT, "the sender is no address");
	if (!mail_address_is_valid(message->to))
		return status_make(STATUS_INVALID_ARGUMENT, "the recipient is no address");
	if (strlen(message->subject) > MAIL_SUBJECT_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "the subject is longer than %d bytes", MAIL_SUBJECT_MAX);
	if (!text_is_utf8(message->subject, strlen(message->subject)) ||
	    !text_is_utf8(message->from->name, strlen(message->from->name)) ||
	    !text_is_utf8(message->text, strlen(message->text)))
		return status_make(STATUS_INVALID_ARGUMENT, "a text is not UTF-8");
	return status_ok_value();
}

struct status
mail_write(const struct mail_message *message, struct strbuf *out)
{
	struct status st = check(message);

	if (!status_ok(&st))
		return st;
	out->ceiling = out->length + MAIL_BYTES_MAX;
	add_date(out, message->date_ms);
	add_from(out, message->from);
	strbuf_printf(out, "To: %s\r\nMessage-ID: <%s%s>\r\nSubject: ", message->to, message->id,
	              strchr(message->from->address, '@'));
	mail_words_add(out, message->subject);
	/* RFC 3834: nobody's absence note answers it. */
	strbuf_puts(
	    out,
	    "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
	mail_quoted_add(out, message->text);
	if (out->is_cut)
		return status_make(STATUS_INVALID_ARGUMENT, "the message is larger than %u bytes", MAIL_BYTES_MAX);
	return st;
}
