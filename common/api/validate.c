/*
 * json: a message against the rules of its fields.
 *
 * Runs at the ingress and again at the service, since the bus can be spoken to by others. Descends no
 * deeper than JSON_DEPTH_MAX; a message nested deeper is refused.
 */
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "base/id.h"
#include "base/text.h"
#include "field.h"

struct validator {
	struct arena *arena;
	struct violations *violations;
	/* The path to the value at hand; it becomes a JSON pointer only when something is wrong. */
	struct {
		const char *name; /* NULL: an index */
		size_t index;
	} path[2 * JSON_DEPTH_MAX + 4];
	size_t depth;
};

static void validate_message(struct validator *v, const ProtobufCMessage *message,
                             const struct api_message *rules, unsigned depth);

static void
enter(struct validator *v, const char *name, size_t index)
{
	v->path[v->depth].name = name;
	v->path[v->depth++].index = index;
}

static void
leave(struct validator *v)
{
	v->depth--;
}

static const char *
pointer_here(struct validator *v)
{
	struct strbuf out;
	strbuf_init(&out, v->arena);
	strbuf_add(&out, "", 0);
	for (size_t i = 0; i < v->depth; i++) {
		strbuf_putc(&out, '/');
		if (!v->path[i].name)
			strbuf_u64(&out, v->path[i].index);
		else
			pointer_add_name(&out, v->path[i].name, strlen(v->path[i].name));
	}
	return out.data;
}

#define WRONG(v, ...) violations_add((v)->violations, (v)->arena, pointer_here(v), __VA_ARGS__)

static bool
is_email(const char *text, size_t length)
{
	const char *at = memchr(text, '@', length);
	if (!at || at == text || length > 254 || memchr(at + 1, '@', length - (size_t)(at - text) - 1))
		return false;
	if (at - text > 64 || at + 1 == text + length)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7F || strchr("<>()[],;:\\\"", text[i]))
			return false;
	return at[1] != '.' && text[length - 1] != '.';
}

static bool
is_url(const char *text, size_t length)
{
	size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
	if (!scheme || length == scheme || text[scheme] == '/' || text[scheme] == ':')
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7F)
			return false;
	return true;
}

static bool
is_date(const char *text, size_t length)
{
	char stamp[32];
	int64_t ignored;
	if (length != 10)
		return false;
	int n = snprintf(stamp, sizeof(stamp), "%sT00:00:00Z", text);
	return text_to_timestamp_ms(stamp, (size_t)n, &ignored);
}

/* Patterns are few and belong to the contract: each is compiled once and kept for the process. */
#define PATTERNS_MAX 64
struct pattern {
	const char *text;
	regex_t regex;
};

/* Returns the compiled pattern; NULL when it does not compile or there are too many, which the
 * contract's tests would have shown. */
static const regex_t *
pattern_compiled(const char *text)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct pattern patterns[PATTERNS_MAX]; /* guarded by `lock`; entries never change */
	static size_t count;
	const regex_t *found = NULL;
	char anchored[512];

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count && !found; i++)
		if (patterns[i].text == text)
			found = &patterns[i].regex;
	if (!found && count < PATTERNS_MAX) {
		snprintf(anchored, sizeof(anchored), "^(%s)$", text);
		if (regcomp(&patterns[count].regex, anchored, REG_EXTENDED | REG_NOSUB) == 0) {
			patterns[count].text = text;
			found = &patterns[count++].regex;
		}
	}
	pthread_mutex_unlock(&lock);
	return found;
}

static void
validate_format(struct validator *v, const struct api_field *rules, const char *text, size_t length)
{
	switch (rules->format) {
	case API_NAME:
		if (!text_is_name(text, length))
			WRONG(v, "must be 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit");
		break;
	case API_EMAIL:
		if (!is_email(text, length))
			WRONG(v, "must be an e-mail address of at most 254 bytes");
		break;
	case API_URL:
		if (!is_url(text, length))
			WRONG(v, "must be an absolute http or https URL");
		break;
	case API_ID:
		if (!id_is_valid(text, NULL))
			WRONG(v, "must be an id");
		break;
	case API_DATE:
		if (!is_date(text, length))
			WRONG(v, "must be a date, YYYY-MM-DD");
		break;
	case API_JSON: {
		struct status st = json_check(text, length);
		if (!status_ok(&st))
			WRONG(v, "%s", st.message);
		break;
	}
	default:
		break;
	}
}

static void
validate_length(struct validator *v, const struct api_field *rules, size_t length)
{
	if (length > field_max_len(rules))
		WRONG(v, "must be at most %u bytes, is %zu", field_max_len(rules), length);
	else if (length < rules->min_len)
		WRONG(v, "must be at least %u byte%s", rules->min_len, rules->min_len == 1 ? "" : "s");
}

static void
validate_text(struct validator *v, const struct api_field *rules, const char *text)
{
	size_t length = strlen(text);
	size_t before = v->violations->count;

	validate_length(v, rules, length);
	if (v->violations->count != before)
		return;
	if (!text_is_utf8(text, length)) {
		WRONG(v, "must be UTF-8");
		return;
	}
	validate_format(v, rules, text, length);
	if (rules->pattern) {
		const regex_t *regex = pattern_compiled(rules->pattern);
		if (!regex || regexec(regex, text, 0, NULL, 0) != 0)
			WRONG(v, "must match %s", rules->pattern);
	}
}

static void
validate_signed(struct validator *v, const struct api_field *rules, int64_t value)
{
	if (rules->has_min && value < rules->min)
		WRONG(v, "must be at least %lld, is %lld", (long long)rules->min, (long long)value);
	else if (rules->has_max && value > rules->max)
		WRONG(v, "must be at most %lld, is %lld", (long long)rules->max, (long long)value);
}

static void
validate_unsigned(struct validator *v, const struct api_field *rules, uint64_t value)
{
	if (rules->has_max && (rules->max < 0 || value > (uint64_t)rules->max))
		WRONG(v, "must be at most %lld, is %llu", (long long)rules->max, (unsigned long long)value);
	else if (rules->has_min && rules->min > 0 && value < (uint64_t)rules->min)
		WRONG(v, "must be at least %lld, is %llu", (long long)rules->min, (unsigned long long)value);
}

static void
validate_enum(struct validator *v, const ProtobufCFieldDescriptor *field, int value)
{
	if (value == 0 || !protobuf_c_enum_descriptor_get_value(field->descriptor, value))
		WRONG(v, "must be %s", scalar_name(PROTOBUF_C_TYPE_ENUM));
}

static void
validate_value(struct validator *v, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
               const void *value, unsigned depth)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		validate_text(v, rules, *(char *const *)value);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		validate_message(v, *(ProtobufCMessage *const *)value, api_message_of(field->descriptor), depth + 1);
		break;
	case PROTOBUF_C_TYPE_BYTES: {
		const ProtobufCBinaryData *bytes = value;
		validate_length(v, rules, bytes->len);
		if (rules->format == API_JSON && bytes->len <= field_max_len(rules))
			validate_format(v, rules, (const char *)bytes->data, bytes->len);
		break;
	}
	case PROTOBUF_C_TYPE_ENUM:
		validate_enum(v, field, *(const int *)value);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		validate_unsigned(v, rules, *(const uint32_t *)value);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		validate_unsigned(v, rules, *(const uint64_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		validate_signed(v, rules, *(const int32_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		validate_signed(v, rules, *(const int64_t *)value);
		break;
	default:
		break;
	}
}

/* Keys: 1 to 64 bytes of UTF-8. Values: the rules of the map field itself. */
static void
validate_entry(struct validator *v, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
               const ProtobufCMessage *message, unsigned depth)
{
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	const char *name = *(char *const *)field_at(message, &entry->fields[0]);
	size_t length = name ? strlen(name) : 0;

	enter(v, name ? name : "", 0);
	if (length < 1 || length > 64 || !text_is_utf8(name, length))
		WRONG(v, "a key must be 1 to 64 bytes of UTF-8");
	else if (field_is_present(message, &entry->fields[1]))
		validate_value(v, &entry->fields[1], rules, field_at(message, &entry->fields[1]), depth);
	leave(v);
}

static void
validate_repeated(struct validator *v, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                  const struct api_field *rules, unsigned depth)
{
	const char *elements = *(const char *const *)field_at(message, field);
	size_t count = field_count(message, field), size = field_size(field->type);

	if (count > field_max_items(rules)) {
		WRONG(v, "must have at most %u items, has %zu", field_max_items(rules), count);
		return;
	}
	if (count < rules->min_items)
		WRONG(v, "must have at least %u item%s", rules->min_items, rules->min_items == 1 ? "" : "s");
	for (size_t i = 0; i < count; i++) {
		if (rules->is_map) {
			validate_entry(v, field, rules, *(ProtobufCMessage *const *)(const void *)(elements + i * size),
			               depth);
			continue;
		}
		enter(v, NULL, i);
		validate_value(v, field, rules, elements + i * size, depth);
		leave(v);
	}
}

static void
validate_field(struct validator *v, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
               const struct api_field *rules, unsigned depth)
{
	if (!field_is_present(message, field)) {
		/* What was there and could not be read is not missing. */
		if (rules->is_required && !violations_name(v->violations, pointer_here(v)))
			WRONG(v, "is required");
	} else if (rules->is_output_only) {
		WRONG(v, "is set by the service and must be left out");
	} else if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		validate_repeated(v, message, field, rules, depth);
	} else {
		validate_value(v, field, rules, field_at(message, field), depth);
	}
}

static void
validate_message(struct validator *v, const ProtobufCMessage *message, const struct api_message *rules,
                 unsigned depth)
{
	if (depth > JSON_DEPTH_MAX) {
		WRONG(v, "is nested too deeply");
		return;
	}
	for (unsigned i = 0; i < rules->descriptor->n_fields; i++) {
		if (rules->fields[i].is_nulls)
			continue;
		enter(v, rules->descriptor->fields[i].name, 0);
		validate_field(v, message, &rules->descriptor->fields[i], &rules->fields[i], depth);
		leave(v);
	}
}

void
api_validate(const ProtobufCMessage *message, const struct api_message *rules, struct arena *arena,
             struct violations *violations)
{
	struct validator v = {.arena = arena, .violations = violations};
	validate_message(&v, message, rules, 0);
}
