/*
 * top_terminal: the alternate screen and raw keys; signals come from a descriptor, so nothing runs in a
 * handler and every way out leads through terminal_close().
 */
#include "top_terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"

#define ENTER  "\x1b[?1049h\x1b[?25l" /* alternate screen, no cursor */
#define LEAVE  "\x1b[?25h\x1b[?1049l"
#define CTRL_C '\x03'
#define CTRL_D '\x04'
#define ESCAPE '\x1b'

struct terminal {
	struct termios before;
	bool has_keys;
	int signals;
};

static void
write_all(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t wrote = write(STDOUT_FILENO, text, length);
		if (wrote < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (wrote > 0) {
			text += wrote;
			length -= (size_t)wrote;
		}
	}
}

static int
take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

struct terminal *
terminal_open(void)
{
	struct terminal *terminal = mem_alloc(sizeof(*terminal));

	terminal->signals = take_signals();
	terminal->has_keys = tcgetattr(STDIN_FILENO, &terminal->before) == 0;
	if (terminal->has_keys) {
		struct termios raw = terminal->before;
		raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO | ISIG);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	write_all(ENTER, sizeof(ENTER) - 1);
	return terminal;
}

void
terminal_close(struct terminal *terminal)
{
	if (!terminal)
		return;
	write_all(LEAVE, sizeof(LEAVE) - 1);
	if (terminal->has_keys)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal->before);
	if (terminal->signals >= 0)
		close(terminal->signals);
	mem_free(terminal);
}

void
terminal_size(struct terminal *terminal, struct top_screen *out)
{
	struct winsize size;

	(void)terminal;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
		size = (struct winsize){.ws_col = 80, .ws_row = 24};
	out->columns = size.ws_col;
	out->lines = size.ws_row;
	const char *no_colour = getenv("NO_COLOR");
	out->has_colours = !no_colour || !*no_colour;
}

void
terminal_show(struct terminal *terminal, const struct strbuf *lines)
{
	struct strbuf out;

	(void)terminal;
	strbuf_init(&out, NULL);
	strbuf_puts(&out, "\x1b[H");
	for (const char *at = lines->data; at && *at;) {
		size_t length = strcspn(at, "\n");
		strbuf_add(&out, at, length);
		strbuf_puts(&out, at[length] ? "\x1b[K\r\n" : "\x1b[K");
		at += length + (at[length] == '\n');
	}
	strbuf_puts(&out, "\x1b[J");
	write_all(out.data, out.length);
	strbuf_fini(&out);
}

/* Escape alone quits; with more behind it, it is another key. */
static bool
is_quit(const char *keys, ssize_t count)
{
	if (count == 1 && keys[0] == ESCAPE)
		return true;
	for (ssize_t i = 0; i < count && keys[0] != ESCAPE; i++)
		if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == CTRL_C || keys[i] == CTRL_D)
			return true;
	return false;
}

static enum terminal_event
read_keys(struct terminal *terminal, short events)
{
	char keys[32];
	ssize_t count = read(STDIN_FILENO, keys, sizeof(keys));

	/* The terminal is gone. */
	if (count < 0 || (count == 0 && (events & POLLHUP)))
		terminal->has_keys = false;
	return is_quit(keys, count) || (events & POLLHUP) ? TERMINAL_QUIT : TERMINAL_TIMEOUT;
}

static enum terminal_event
read_signal(const struct terminal *terminal)
{
	struct signalfd_siginfo info;

	if (read(terminal->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return TERMINAL_TIMEOUT;
	return info.ssi_signo == SIGWINCH ? TERMINAL_RESIZED : TERMINAL_QUIT;
}

enum terminal_event
terminal_wait(struct terminal *terminal, uint64_t timeout_ms)
{
	uint64_t end_ms = clock_mono_ms(clock_system()) + timeout_ms;

	for (;;) {
		uint64_t now_ms = clock_mono_ms(clock_system());
		struct pollfd fds[] = {{.fd = terminal->signals, .events = POLLIN},
		                       {.fd = terminal->has_keys ? STDIN_FILENO : -1, .events = POLLIN}};
		enum terminal_event event = TERMINAL_TIMEOUT;
		if (now_ms >= end_ms)
			return TERMINAL_TIMEOUT;
		poll(fds, 2, (int)(end_ms - now_ms));
		if (fds[0].revents)
			event = read_signal(terminal);
		else if (fds[1].revents)
			event = read_keys(terminal, fds[1].revents);
		if (event != TERMINAL_TIMEOUT)
			return event;
	}
}
