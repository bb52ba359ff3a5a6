/*
 * process: from a command line to an exit code.
 *
 * The main thread blocks the signals before any other thread exists and then reads them from a
 * descriptor, so no code runs in a signal handler. A second SIGINT or SIGTERM during the drain ends
 * the process at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "daemon/host.h"
#include "daemon/notify.h"
#include "daemon/options.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

extern char **environ;

/* ---------------------------------------------------------------- what only prints */

static void
print_help(const struct daemon_options *options, const struct config_option *const *tables)
{
	const struct service *const *services = options->services;

	if (options->only_migrates)
		printf("corbel migrate: brings the schemas of all services up to date, and ends\n\n");
	else if (services[0] && !services[1])
		printf("%s: %s\n\n", services[0]->name, services[0]->summary);
	else
		printf("corbel serve: every service in one process\n\n");
	printf("Each option is said as --name=value, as CORBEL_NAME in the environment (dots become\n"
	       "underscores), or in the YAML file of --config. Stops on SIGTERM and SIGINT; SIGHUP reads\n"
	       "certificates again.\n\n");
	config_print_help(tables, stdout);
}

/* Whether the command line asks for a print-out only; *code is then the exit code. */
static bool
only_prints(const struct daemon_options *options, const struct config *config,
            const struct config_option *const *tables, int *code)
{
	*code = 0;
	if (config_bool(config, "help"))
		print_help(options, tables);
	else if (config_bool(config, "print-options"))
		config_print_markdown(tables, stdout);
	else if (config_bool(config, "version"))
		printf("corbel %s\n", CORBEL_VERSION);
	else if (config_bool(config, "print-config"))
		config_print(config, stdout);
	else if (config_bool(config, "check-config"))
		printf("configuration ok\n");
	else
		return false;
	if (fflush(stdout) != 0)
		*code = EXIT_FAILED;
	return true;
}

/* ---------------------------------------------------------------- signals */

static void
stop_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static int
open_signals(void)
{
	sigset_t set;

	stop_signals(&set);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write, as a full disk is */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* From now on SIGINT and SIGTERM end the process as they do by default. Those already pending were
 * the ones that we stop for. */
static void
let_signals_kill(int fd)
{
	struct signalfd_siginfo info;
	sigset_t set;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	while (read(fd, &info, sizeof(info)) == sizeof(info))
		continue;
	signal(SIGHUP, SIG_IGN);
	stop_signals(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Waits for a signal, and keeps the service manager informed meanwhile. */
static void
wait_for_signal(struct host *host, int signals, struct notify *notify)
{
	struct pollfd wanted = {.fd = signals, .events = POLLIN};
	int found;

	do
		found = poll(&wanted, 1, notify_look(notify, host));
	while (found == 0 || (found < 0 && errno == EINTR));
}

/* Serves until SIGTERM or SIGINT. */
static void
serve(struct host *host, int signals)
{
	struct signalfd_siginfo info;
	struct notify notify;

	notify_open(&notify);
	for (;;) {
		wait_for_signal(host, signals, &notify);
		ssize_t got = read(signals, &info, sizeof(info));
		if (got != sizeof(info) && errno == EINTR)
			continue;
		if (got != sizeof(info) || info.ssi_signo != SIGHUP)
			break;
		log_info(host_log(host), "reloading");
		host_reload(host);
	}
	notify_stopping(&notify);
	notify_close(&notify);
	log_info(host_log(host), "stopping", LOG_TEXT("signal", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM"));
}

/* ---------------------------------------------------------------- descriptors */

/* As many as the hard limit grants: the soft one is low by tradition, for programs that use select(), and
 * each connection takes a descriptor. Returns what the limit is then; 0: unknown. */
static uint64_t
raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return 0;
	struct rlimit raised = {.rlim_cur = files.rlim_max, .rlim_max = files.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		files = raised;
	return files.rlim_cur;
}

/* ---------------------------------------------------------------- the lock of a data directory */

/* Takes the lock, held until the process ends. -1: another process has it, or there is no directory. */
static int
lock_data(const char *data)
{
	char *path = mem_printf("%s/corbel.lock", data);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	} else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		fprintf(
		    stderr,
		    "another corbel serve uses %s: stop it, or give this one a directory of its own with --data\n",
		    data);
		close(fd);
		fd = -1;
	}
	mem_free(path);
	return fd;
}

static bool
take_lock(const struct daemon_options *options, const char *data, int *lock)
{
	*lock = -1;
	if (!options->is_exclusive)
		return true;
	struct status st = host_make_directory(data);
	if (!status_ok(&st)) {
		fprintf(stderr, "%s\n", st.message);
		return false;
	}
	*lock = lock_data(data);
	return *lock >= 0;
}

/* ---------------------------------------------------------------- life */

static void
say_ready(const struct daemon_options *options, struct host *host)
{
	log_info(host_log(host), "ready");
	if (options->ready)
		options->ready(host, stdout);
	else
		printf("ready\n");
	fflush(stdout);
}

static int
run_host(const struct daemon_options *options, struct host *host, int signals, const struct config *config)
{
	uint32_t delay_ms = (uint32_t)config_duration_ms(config, "drain.delay");
	uint32_t grace_ms = (uint32_t)config_duration_ms(config, "drain.grace");
	struct status st = options->only_migrates ? host_migrate(host) : host_start(host);
	bool is_stopped = st.code == STATUS_CANCELLED;

	if (status_ok(&st) && options->only_migrates) {
		log_info(host_log(host), "schemas are up to date");
	} else if (status_ok(&st)) {
		say_ready(options, host);
		serve(host, signals);
	} else if (!is_stopped) {
		log_error(host_log(host), "cannot start", LOG_STATUS(&st));
	}
	let_signals_kill(signals);
	if (status_ok(&st) && !options->only_migrates)
		host_leave(host, delay_ms);
	bool is_quiet = host_drain(host, grace_ms);
	if (!is_quiet) {
		/* Worker threads still use what host_free() would free. */
		log_free(host_log(host));
		_exit(EXIT_FAILED);
	}
	log_info(host_log(host), "stopped");
	host_free(host);
	/* A migration that was stopped half way is not done. */
	return status_ok(&st) || (is_stopped && !options->only_migrates) ? 0 : EXIT_FAILED;
}

static int
run_config(const struct daemon_options *options, const struct config *config)
{
	struct host *host;
	int lock;

	if (!take_lock(options, config_text(config, "data"), &lock))
		return EXIT_FAILED;
	uint64_t files = raise_file_limit();
	int signals = open_signals();
	struct host_options host_options = {.config = config,
	                                    .services = options->services,
	                                    .stop_fd = signals,
	                                    .out = stdout,
	                                    .is_only_one = true,
	                                    .has_no_admin = options->only_migrates};
	struct status st = host_new(&host_options, &host);
	int code = EXIT_FAILED;
	if (status_ok(&st)) {
		log_info(host_log(host), "descriptors", LOG_U64("limit", files));
		code = run_host(options, host, signals, config);
	} else {
		fprintf(stderr, "cannot start: %s\n", st.message);
	}
	close(signals);
	if (lock >= 0)
		close(lock);
	return code;
}

/* Reads the configuration with all its errors, then does what it says. */
static int
run_tables(const struct daemon_options *options, const struct config_option *const *tables)
{
	struct config_input input = {.tables = tables,
	                             .argc = options->argc,
	                             .argv = (const char *const *)options->argv,
	                             .environ = (const char *const *)environ};
	struct config *config = NULL;
	struct status st = config_load(&input, stderr, &config);
	int code;

	if (!status_ok(&st)) {
		fprintf(stderr, "%s\n", st.message);
		return EXIT_USAGE;
	}
	size_t errors = options_check(config, options->services, stderr);
	const char *const *arguments = config_arguments(config);
	if (arguments[0]) {
		fprintf(stderr, "unexpected argument '%s'\n", arguments[0]);
		errors++;
	}
	if (errors > 0)
		code = EXIT_USAGE;
	else if (!only_prints(options, config, tables, &code))
		code = run_config(options, config);
	config_free(config);
	return code;
}

int
daemon_run(const struct daemon_options *options)
{
	struct options *tables = options_new(options->services);
	int code = run_tables(options, options_tables(tables));

	options_free(tables);
	return code;
}

int
daemon_main(int argc, char **argv, const struct service *const *services)
{
	struct daemon_options options = {.argc = argc, .argv = argv, .services = services};
	return daemon_run(&options);
}
