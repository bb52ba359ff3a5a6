/*
 * top: asks the admin ports of one or more processes again and again, and shows what came between.
 */
#include "top.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli.h"
#include "top_terminal.h"

#define ADDRESSES_MAX   32
#define FETCH_MS        1000
#define INTERVAL_MIN_MS 100u
#define INTERVAL_MAX_MS 3600000u
#define MEMORY_MAX      (256u << 20) /* of one round of answers */
#define DEFAULT_ADDRESS "127.0.0.1:9600"

static const char USAGE[] =
    "corbel top [ADDRESS...] [flags]\n\n"
    "Shows what Corbel's processes are doing: requests and their times by route, decisions about limits, "
    "calls\n"
    "by service, health. ADDRESS is the admin port of a process (its option admin.listen), several are "
    "summed\n"
    "up; " DEFAULT_ADDRESS " unless said. q quits.\n\n"
    "  --interval DURATION   time between two looks (default 1s; 100ms to 1h)\n"
    "  --once                print one interval as plain text and end; so does a standard output that is no\n"
    "                        terminal\n";

struct top {
	const char *addresses[ADDRESSES_MAX];
	size_t address_count;
	uint64_t interval_ms;
	bool is_once;
	struct arena arena; /* of one round of answers */
	struct top_reading *now, *before, *rates;
	struct strbuf where, health;
	bool is_healthy;
	size_t reached; /* processes that answered */
};

/* ---- arguments ---- */

static bool
read_interval(struct top *top, const char *text)
{
	if (text && text_to_duration_ms(text, strlen(text), &top->interval_ms) &&
	    top->interval_ms >= INTERVAL_MIN_MS && top->interval_ms <= INTERVAL_MAX_MS)
		return true;
	fputs("corbel: --interval must be 100ms to 1h\n", stderr);
	return false;
}

static bool
read_arguments(struct top *top, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--once") == 0) {
			top->is_once = true;
		} else if (strcmp(argv[i], "--interval") == 0) {
			if (!read_interval(top, ++i < argc ? argv[i] : NULL))
				return false;
		} else if (strncmp(argv[i], "--interval=", 11) == 0) {
			if (!read_interval(top, argv[i] + 11))
				return false;
		} else if (argv[i][0] == '-' || top->address_count == ADDRESSES_MAX) {
			fprintf(stderr, "corbel: top takes addresses (at most %d), --interval and --once, not '%s'\n",
			        ADDRESSES_MAX, argv[i]);
			return false;
		} else {
			top->addresses[top->address_count++] = argv[i];
		}
	}
	if (top->address_count == 0)
		top->addresses[top->address_count++] = DEFAULT_ADDRESS;
	return true;
}

/* ---- one look ---- */

/* The body; NULL when there was no answer. */
static const char *
fetch(struct top *top, const char *address, const char *path, long *status)
{
	const char *scheme = strstr(address, "://") ? "" : "http://";
	struct exchange exchange = {.verb = "GET",
	                            .url = arena_printf(&top->arena, "%s%s%s", scheme, address, path),
	                            .timeout_ms = FETCH_MS};

	http_exchange(&exchange, &top->arena);
	*status = exchange.status;
	return exchange.status ? exchange.response : NULL;
}

/* "pass" behind the last name, if what follows is of another state, or nothing. */
static void
end_state(struct top *top, const char *state, const char *next)
{
	if (state && (!next || strcmp(state, next) != 0))
		strbuf_printf(&top->health, " %s", state);
}

/* "first second pass   third fail" and the like, of a body of /readyz. */
static void
add_health(struct top *top, const char *body)
{
	json_t *root = body ? json_loads(body, 0, NULL) : NULL, *checks = json_object_get(root, "checks"), *parts;
	const char *name, *state = NULL;

	json_object_foreach(checks, name, parts)
	{
		const char *text = json_string_value(json_object_get(json_array_get(parts, 0), "status"));
		bool is_same = state && text && strcmp(state, text) == 0;
		end_state(top, state, text ? text : "?");
		strbuf_printf(&top->health, "%s%s", is_same ? " " : top->health.length ? "   " : "", name);
		state = text ? text : "?";
		top->is_healthy = top->is_healthy && strcmp(state, "pass") == 0;
	}
	end_state(top, state, NULL);
	json_decref(root);
}

static void
look_at(struct top *top, const char *address)
{
	struct scrape scrape;
	long status;
	const char *metrics = fetch(top, address, "/metrics", &status);

	if (!metrics || status != 200) {
		strbuf_printf(&top->health, "%s%s %s", top->health.length ? "   " : "", address,
		              metrics ? "has no metrics" : "does not answer");
		top->is_healthy = false;
		return;
	}
	scrape_read(metrics, strlen(metrics), &top->arena, &scrape);
	top_reading_add(top->now, &scrape);
	top->reached++;
	add_health(top, fetch(top, address, "/readyz", &status));
}

static void
look(struct top *top)
{
	arena_reset(&top->arena);
	strbuf_clear(&top->health);
	top->is_healthy = true;
	top->reached = 0;
	top_reading_clear(top->now, clock_mono_ms(clock_system()));
	for (size_t i = 0; i < top->address_count; i++)
		look_at(top, top->addresses[i]);
}

static void
keep_for_next(struct top *top)
{
	struct top_reading *kept = top->now;
	/* Nobody answered: the numbers go on from the last that somebody did. */
	if (top->reached == 0)
		return;
	top->now = top->before;
	top->before = kept;
}

static void
compose_screen(struct top *top, const struct top_screen *screen, struct strbuf *out)
{
	struct top_status status = {.where = top->where.data,
	                            .health = top->health.data ? top->health.data : "",
	                            .is_healthy = top->is_healthy,
	                            .interval_ms = top->interval_ms,
	                            .now_s = clock_wall_ms(clock_system()) / 1000};
	top_view(top->rates, &status, screen, out);
}

/* ---- the ways to show it ---- */

static int
show_once(struct top *top)
{
	struct top_screen plain = {.columns = 0};
	struct strbuf out;

	usleep((useconds_t)(top->interval_ms * 1000));
	look(top);
	top_reading_rates(top->now, top->before, top->rates);
	strbuf_init(&out, NULL);
	compose_screen(top, &plain, &out);
	printf("%s\n", out.data);
	strbuf_fini(&out);
	return top->reached > 0 ? EXIT_CODE_OK : EXIT_CODE_UNAVAILABLE;
}

static void
draw(struct top *top, struct terminal *terminal)
{
	struct top_screen screen;
	struct strbuf out;

	terminal_size(terminal, &screen);
	strbuf_init(&out, NULL);
	compose_screen(top, &screen, &out);
	terminal_show(terminal, &out);
	strbuf_fini(&out);
}

static int
show_live(struct top *top)
{
	struct terminal *terminal = terminal_open();
	enum terminal_event event = TERMINAL_RESIZED;

	/* The first screen has no rates yet, but all that stands still. */
	top_reading_rates(top->before, top->before, top->rates);
	while (event != TERMINAL_QUIT) {
		if (event == TERMINAL_TIMEOUT) {
			look(top);
			top_reading_rates(top->now, top->before, top->rates);
			keep_for_next(top);
		}
		draw(top, terminal);
		event = terminal_wait(terminal, top->interval_ms);
	}
	terminal_close(terminal);
	return EXIT_CODE_OK;
}

/* ---- life ---- */

static void
top_init(struct top *top)
{
	arena_init(&top->arena, 1u << 20, MEMORY_MAX);
	top->now = mem_alloc(sizeof(*top->now));
	top->before = mem_alloc(sizeof(*top->before));
	top->rates = mem_alloc(sizeof(*top->rates));
	strbuf_init(&top->where, NULL);
	strbuf_init(&top->health, NULL);
	for (size_t i = 0; i < top->address_count; i++)
		strbuf_printf(&top->where, "%s%s", i ? " " : "", top->addresses[i]);
}

static void
top_fini(struct top *top)
{
	arena_fini(&top->arena);
	mem_free(top->now);
	mem_free(top->before);
	mem_free(top->rates);
	strbuf_fini(&top->where);
	strbuf_fini(&top->health);
}

static int
run(struct top *top)
{
	look(top);
	if (top->reached == 0) {
		fprintf(stderr, "corbel: %s: is it the admin port (admin.listen) of a process?\n", top->health.data);
		return EXIT_CODE_UNAVAILABLE;
	}
	keep_for_next(top);
	return top->is_once || !isatty(STDOUT_FILENO) ? show_once(top) : show_live(top);
}

int
top_main(int argc, char **argv)
{
	struct top top = {.interval_ms = 1000};

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(USAGE, stdout);
		return EXIT_CODE_OK;
	}
	if (!read_arguments(&top, argc, argv))
		return EXIT_CODE_USAGE;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	top_init(&top);
	int code = run(&top);
	top_fini(&top);
	curl_global_cleanup();
	return code;
}
