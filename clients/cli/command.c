/*
 * command: from words to a method, and its calls: as many as there are pages.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define PAGES_MAX 1000

void
command_each(void (*each)(void *arg, const struct api_method *method), void *arg)
{
	for (const struct api_service *const *service = api_services; *service; service++)
		for (size_t i = 0; i < (*service)->method_count; i++)
			if ((*service)->methods[i].cli[0] && (*service)->methods[i].path)
				each(arg, &(*service)->methods[i]);
}

/* How many of the words spell the method's command; 0: they do not. */
static int
words_matched(const struct api_method *method, int argc, char *const *argv)
{
	const char *at = method->cli;
	int used = 0;
	while (*at) {
		size_t length = strcspn(at, " ");
		if (used == argc || strlen(argv[used]) != length || memcmp(argv[used], at, length) != 0)
			return 0;
		used++;
		at += length + (at[length] == ' ');
	}
	return used;
}

const struct api_method *
command_find(int argc, char *const *argv, int *used)
{
	for (const struct api_service *const *service = api_services; *service; service++) {
		for (size_t i = 0; i < (*service)->method_count; i++) {
			const struct api_method *method = &(*service)->methods[i];
			*used = method->path && method->cli[0] ? words_matched(method, argc, argv) : 0;
			if (*used > 0)
				return method;
		}
	}
	return NULL;
}

/* ---- asking before what cannot be undone ---- */

static bool
is_confirmed(const struct command *command)
{
	char answer[16];

	if (!command->method->confirm[0] || command->settings.is_yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		fprintf(stderr, "corbel: %s Say --yes to do it without being asked.\n", command->method->confirm);
		return false;
	}
	fprintf(stderr, "%s [y/N] ", command->method->confirm);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Adds the page's list to the one of the pages before. */
static void
join_pages(json_t *all, const json_t *page)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)page, name,
	                    value) if (json_is_array(value) && json_is_array(json_object_get(all, name)))
	    json_array_extend(json_object_get(all, name), value);
}

static int
call_all_pages(struct command *command, json_t **reply)
{
	json_t *fields = json_deep_copy(command->fields);
	int code = call_make(command, reply);

	for (int pages = 1; code == EXIT_CODE_OK && command->settings.takes_all && pages < PAGES_MAX; pages++) {
		json_t *token = json_object_get(*reply, "next_page_token"), *page = NULL;
		if (!token)
			break;
		json_decref(command->fields);
		command->fields = json_deep_copy(fields);
		json_object_set(command->fields, "page_token", token);
		json_object_del(*reply, "next_page_token");
		code = call_make(command, &page);
		if (code == EXIT_CODE_OK) {
			join_pages(*reply, page);
			if (json_object_get(page, "next_page_token"))
				json_object_set(*reply, "next_page_token", json_object_get(page, "next_page_token"));
		}
		json_decref(page);
	}
	json_decref(fields);
	return code;
}

static int
call_and_show(struct command *command)
{
	json_t *reply = NULL;
	int code = call_all_pages(command, &reply);

	if (code == EXIT_CODE_OK && reply)
		output_reply(command, reply, stdout);
	json_decref(reply);
	return code;
}

/* Until it fails or is interrupted. On a terminal each time takes the place of the one before. */
static int
watch(struct command *command)
{
	const struct timespec pause = {.tv_sec = 1};
	json_t *fields = json_deep_copy(command->fields);
	int code = EXIT_CODE_OK;

	while (code == EXIT_CODE_OK && !ferror(stdout)) {
		struct arena arena, *own = command->arena;
		arena_init(&arena, 16u << 10, SIZE_MAX);
		command->arena = &arena;
		if (isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		json_decref(command->fields);
		command->fields = json_deep_copy(fields);
		code = call_and_show(command);
		(void)fflush(stdout);
		command->arena = own;
		arena_fini(&arena);
		(void)nanosleep(&pause, NULL);
	}
	json_decref(fields);
	return code;
}

int
command_run(struct command *command)
{
	if (!command->settings.url) {
		fputs("corbel: say where Corbel is: --url, CORBEL_URL, or a profile\n", stderr);
		return EXIT_CODE_USAGE;
	}
	if (command->settings.is_watched && command->method->verb != API_GET) {
		fputs("corbel: --watch is for commands that only read\n", stderr);
		return EXIT_CODE_USAGE;
	}
	if (!is_confirmed(command))
		return EXIT_CODE_OTHER;
	return command->settings.is_watched ? watch(command) : call_and_show(command);
}
