/*
 * endpoint_check: see endpoint_check.h.
 */
#include "endpoint_check.h"

#include <string.h>
#include <strings.h>

#include "endpoint_sink.h"
#include "filter.h"
#include "mail/mail.h"
#include "order.h"

struct status
endpoint_refuse(struct call *call, const char *pointer, const char *why)
{
	call_violation(call, pointer, "%s", why);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, why);
}

static bool
is_reserved(const char *name)
{
	static const char *const NAMES[] = {
	    "host", "content-length", "content-type", "transfer-encoding",   "connection", "expect",
	    "te",   "upgrade",        "trailer",      "x-hub-signature-256", "traceparent"};
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
		if (strcasecmp(NAMES[i], name) == 0)
			return true;
	return strncasecmp(name, "webhook-", 8) == 0;
}

/* A token of RFC 9110, and a value of visible characters and spaces. */
static bool
is_header(const char *name, const char *value)
{
	static const char TOKEN[] =
	    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t length = strlen(name);

	if (length == 0 || length > 128 || strspn(name, TOKEN) != length)
		return false;
	for (; *value; value++)
		if ((unsigned char)*value < ' ' || (unsigned char)*value == 0x7F)
			return false;
	return true;
}

static struct status
check_headers(struct call *call, const Endpoint *endpoint)
{
	bool is_binary = endpoint->format == CORBEL__V1__DELIVERY_FORMAT__CLOUDEVENTS_BINARY;

	for (size_t i = 0; i < endpoint->n_headers; i++) {
		const char *name = endpoint->headers[i]->key;
		const char *pointer = arena_printf(call_arena(call), "/headers/%s", name);
		if (!is_header(name, endpoint->headers[i]->value))
			return endpoint_refuse(call, pointer,
			                       "must be a header name, with a value of visible characters");
		if (is_reserved(name) || (is_binary && strncasecmp(name, "ce-", 3) == 0))
			return endpoint_refuse(call, pointer, "is set by the protocol or the signature");
	}
	return status_ok_value();
}

static struct status
check_contacts(struct call *call, const Endpoint *endpoint)
{
	for (size_t i = 0; i < endpoint->n_contacts; i++)
		if (!mail_address_is_valid(endpoint->contacts[i]))
			return endpoint_refuse(call, arena_printf(call_arena(call), "/contacts/%zu", i),
			                       "must be an address such as ops@example.com, of ASCII characters");
	return status_ok_value();
}

struct status
endpoint_check(struct call *call, const Endpoint *endpoint)
{
	struct violations *violations = ARENA_NEW(call_arena(call), struct violations);
	struct status st = endpoint_check_sink(call, endpoint);

	if (status_ok(&st))
		st = check_headers(call, endpoint);
	if (status_ok(&st))
		st = check_contacts(call, endpoint);

	if (status_ok(&st) && endpoint->order_by && !order_rule_is_valid(endpoint->order_by))
		st = endpoint_refuse(call, "/order_by", "must be \"subject\" or a JSON pointer such as \"/user/id\"");

	if (!status_ok(&st) || !endpoint->filter ||
	    filter_check(endpoint->filter, "/filter", call_arena(call), violations))
		return st;
	for (size_t i = 0; i < violations->count; i++)
		call_violation(call, violations->items[i].pointer, "%s", violations->items[i].detail);
	return violations_status(violations);
}
