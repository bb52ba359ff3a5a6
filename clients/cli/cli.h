/*
 * cli: the command `corbel`.
 *
 * `corbel RESOURCE ACTION` comes from the contract: words, flags and help are those of its methods. Nothing
 * here knows a service.
 */
#ifndef CORBEL_CLI_H
#define CORBEL_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "api/api.h"
#include "base/arena.h"

/* Exit codes, by class of error. */
enum {
	EXIT_CODE_OK = 0,
	EXIT_CODE_OTHER = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_FORBIDDEN = 3, /* 401, 403 */
	EXIT_CODE_NOT_FOUND = 4,
	EXIT_CODE_CONFLICT = 5,   /* 409, 422 */
	EXIT_CODE_INVALID = 6,    /* 400, 413 … */
	EXIT_CODE_LIMITED = 7,    /* 429 */
	EXIT_CODE_UNAVAILABLE = 8 /* 5xx, no answer */
};

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_CSV };

struct settings {
	const char *url, *api_key, *profile;
	enum output_format output;
	bool has_output; /* a flag said it: the profile does not */
	bool is_verbose, is_yes, takes_all, is_watched;
	const char *idempotency_key; /* NULL: each call gets one of its own */
	unsigned retries;
};

/* One command line, understood. */
struct command {
	struct arena *arena;
	const struct api_method *method;
	struct settings settings;
	json_t *fields; /* owned: the request's fields */
	bool wants_help;
};

/* ---- command.c ---- */
/* The method of the words; NULL when there is none. *used gets the number of words. */
const struct api_method *command_find(int argc, char *const *argv, int *used);
/* Calls `each` for every method on the command line. */
void command_each(void (*each)(void *arg, const struct api_method *method), void *arg);
int command_run(struct command *command);

/* ---- call.c ---- */
/* Makes the call; returns its exit code, having told what went wrong. *reply is the caller's to free. */
int call_make(struct command *command, json_t **reply);
/* The exit code for a status of HTTP; 0: there was no answer. */
int exit_code_of(long status);

/* ---- arguments.c ---- */
/* Reads flags and positional path parameters; prints what is wrong and returns false. */
bool arguments_read(struct command *command, int argc, char *const *argv);

/* ---- text_file.c ---- */
/* What a file, or for "-" standard input, holds: text in UTF-8 without NUL, in the arena. NULL, having told
 * why on standard error, when it is something else, longer than `max_bytes` or cannot be read. */
const char *text_file_read(const char *path, size_t max_bytes, struct arena *arena);

/* ---- profile.c ---- */
/* Fills what neither flags nor environment said from the profile's file. */
bool profile_apply(struct settings *settings, struct arena *arena);

/* ---- http.c ---- */
struct exchange {
	const char *verb, *url, *body; /* body NULL: none */
	const char *content_type;      /* of the body; NULL: JSON, "": none */
	const char *api_key;
	const char *idempotency_key;    /* NULL: none */
	const char *trace_id, *span_id; /* W3C Trace Context; the call is found by it in traces and logs */
	bool is_verbose;
	long timeout_ms; /* 0: a minute */
	/* out */
	long status;        /* 0: no answer */
	long retry_after_s; /* 0: not said */
	char *response;     /* NUL-terminated, in the arena */
	size_t response_size;
	char error[256];
};
void http_exchange(struct exchange *exchange, struct arena *arena);

/* ---- retry.c ---- */
struct retry {
	unsigned left, made;
};
bool retry_is_due(const struct retry *retry, const struct exchange *exchange);
/* Says on standard error what it waits for, and waits. */
void retry_wait(struct retry *retry, const struct exchange *exchange);

/* ---- show.c ---- */
/* A copy that is safe on a terminal: characters that command it become spaces. */
char *show_text(struct arena *arena, const char *text);
/* Columns on a terminal: wide characters take two, combining ones none. */
size_t show_width(const char *text);
void show_padded(const char *text, size_t width, FILE *out);
/* JSON with such characters escaped; `flags` are jansson's. */
char *show_json(struct arena *arena, const json_t *value, size_t flags);

/* ---- output.c ---- */
void output_reply(const struct command *command, const json_t *reply, FILE *out);
/* A problem, for people. */
void output_problem(struct arena *arena, long status, const json_t *problem, FILE *out);
bool output_format_from(const char *text, enum output_format *out);

/* ---- help.c ---- */
void help_all(FILE *out);
void help_exit_codes(FILE *out);
void help_resource(const char *resource, FILE *out);
void help_method(const struct api_method *method, FILE *out);

/* ---- completion.c ---- */
int completion_print(const char *shell);

#endif
