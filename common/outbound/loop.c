/*
 * loop: the client's thread. curl's multi handle tells which sockets it wants watched (watches.c) and when it
 * wants to be called; an epoll set watches them beside an eventfd by which senders wake the loop. Nothing
 * here blocks: names are resolved by curl on threads of their own.
 *
 *     start what was sent, what waited → curl's timers → end what is done → cancel, or sleep → curl's sockets
 * → …
 */
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "outbound/outbound_internal.h"

#define EVENTS_MAX 256
#define NEVER      UINT64_MAX

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

/* ---------------------------------------------------------------- what curl asks for */

static int
set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct outbound *self = arg;

	(void)multi;
	self->curl_due_ms = timeout_ms < 0 ? NEVER : now_ms() + (uint64_t)timeout_ms;
	return 0;
}

/* ---------------------------------------------------------------- requests in and out */

static void
conclude(struct transfer *transfer, enum outbound_result result, const char *detail)
{
	response_conclude(transfer, result, detail);
	outbound_end(transfer);
}

/* Hands it to curl with what is left of its time. A name that curl does not know begins to be looked up here
 * and now, so that the next request to it finds whom to wait for. */
static void
run_in_curl(struct outbound *self, struct transfer *transfer)
{
	uint64_t now = now_ms();
	int running;

	curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS,
	                 transfer->deadline_ms > now ? (long)(transfer->deadline_ms - now) : 1L);
	if (curl_multi_add_handle(self->multi, transfer->easy) != CURLM_OK) {
		conclude(transfer, OUTBOUND_PROTOCOL, "curl does not take the request");
		return;
	}
	transfer->is_running = true;
	if (transfer->has_name)
		curl_multi_socket_action(self->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static void
start(struct outbound *self, struct transfer *transfer)
{
	size_t place = (size_t)(transfer - self->transfers);

	if (place >= self->seen)
		self->seen = place + 1;
	if (!transfer_prepare(transfer)) {
		outbound_end(transfer);
		return;
	}
	transfer->start_ms = now_ms();
	transfer->deadline_ms = transfer->start_ms + transfer->request->timeout_ms;
	if (!names_wait(transfer))
		run_in_curl(self, transfer);
}

static void
start_sent(struct outbound *self)
{
	struct transfer *next;

	pthread_mutex_lock(&self->lock);
	struct transfer *transfer = self->sent_first;
	self->sent_first = self->sent_last = NULL;
	pthread_mutex_unlock(&self->lock);
	for (; transfer; transfer = next) {
		next = transfer->next;
		start(self, transfer);
	}
}

static bool
is_cancelled(struct outbound *self, const struct transfer *transfer)
{
	pthread_mutex_lock(&self->lock);
	bool is_it = transfer->is_cancelled;
	pthread_mutex_unlock(&self->lock);
	return is_it;
}

/* Those whose lookup is over. A cancellation may have come while they were neither in curl nor waiting. */
static void
start_ready(struct outbound *self)
{
	struct transfer *transfer;

	while ((transfer = names_next_ready(self)) != NULL) {
		if (is_cancelled(self, transfer))
			conclude(transfer, OUTBOUND_CANCELLED, "cancelled");
		else if (transfer->is_unresolved)
			conclude(transfer, OUTBOUND_DNS, transfer->error);
		else if (!names_wait(transfer))
			run_in_curl(self, transfer);
	}
}

static void
cancel(struct outbound *self, struct transfer *transfer)
{
	names_leave(transfer);
	if (transfer->is_running)
		curl_multi_remove_handle(self->multi, transfer->easy);
	names_lookup_over(transfer, NULL);
	transfer->is_running = false;
	conclude(transfer, OUTBOUND_CANCELLED, "cancelled");
}

/* The first place from `*i` on whose request runs and is to be cancelled. */
static struct transfer *
next_cancelled(struct outbound *self, size_t *i, bool all)
{
	struct transfer *found = NULL;

	pthread_mutex_lock(&self->lock);
	for (; !found && *i < self->used; (*i)++) {
		struct transfer *transfer = &self->transfers[*i];
		if ((transfer->is_running || transfer->list) && (all || transfer->is_cancelled))
			found = transfer;
	}
	pthread_mutex_unlock(&self->lock);
	return found;
}

/* All that run, or those that were asked for: rare enough to look at every place. */
static void
cancel_running(struct outbound *self, bool all)
{
	struct transfer *transfer;

	for (size_t i = 0; (transfer = next_cancelled(self, &i, all)) != NULL;)
		cancel(self, transfer);
}

static void
end_done(struct outbound *self)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(self->multi, &left)) != NULL) {
		struct transfer *transfer = NULL;
		CURLcode code = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
		curl_multi_remove_handle(self->multi, transfer->easy);
		transfer->is_running = false;
		response_finish(transfer, code);
		names_lookup_over(transfer,
		                  code == CURLE_COULDNT_RESOLVE_HOST ? transfer->request->response.detail : NULL);
		outbound_end(transfer);
	}
}

/* ---------------------------------------------------------------- the loop */

enum next { SLEEP, GO_ON, CANCEL_SOME, CANCEL_ALL, END };

/* Decides under the lock, so that nothing can be sent between the decision to sleep and being woken. What was
 * sent goes first, so that whatever is to be cancelled runs by then. */
static enum next
next_step(struct outbound *self, uint64_t *wake_ms)
{
	enum next next = SLEEP;

	*wake_ms = NEVER;
	pthread_mutex_lock(&self->lock);
	if (self->sent_first || self->ready.first)
		next = GO_ON;
	else if (self->has_cancels)
		next = CANCEL_SOME;
	else if (self->is_closing && atomic_load(&self->in_flight) == 0)
		next = END;
	else if (self->is_closing && now_ms() >= self->end_mono_ms)
		next = CANCEL_ALL;
	else if (self->is_closing)
		*wake_ms = self->end_mono_ms;
	if (next == CANCEL_SOME)
		self->has_cancels = false;
	self->is_asleep = next == SLEEP;
	pthread_mutex_unlock(&self->lock);
	return next;
}

static void
drive_timers(struct outbound *self)
{
	int running;

	if (self->curl_due_ms > now_ms())
		return;
	self->curl_due_ms = NEVER;
	curl_multi_socket_action(self->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static void
drive_socket(struct outbound *self, const struct epoll_event *event)
{
	unsigned events = event->events;
	int running, flags = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
	                     (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
	                     (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

	if (watches_wants(self, event->data.fd))
		curl_multi_socket_action(self->multi, event->data.fd, flags, &running);
}

static int
timeout_until(uint64_t due_ms)
{
	uint64_t now = now_ms();

	if (due_ms == NEVER)
		return -1;
	return due_ms <= now ? 0 : due_ms - now > INT32_MAX ? INT32_MAX : (int)(due_ms - now);
}

static void
wait_for_sockets(struct outbound *self, uint64_t due_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(self->epoll, events, EVENTS_MAX, timeout_until(due_ms));
	eventfd_t ignored;

	for (int i = 0; i < count; i++) {
		if (events[i].data.fd == self->wake)
			eventfd_read(self->wake, &ignored);
		else
			drive_socket(self, &events[i]);
	}
}

static uint64_t
earliest(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t least = a < b ? a : b;
	return least < c ? least : c;
}

static void *
run(void *arg)
{
	struct outbound *self = arg;
	enum next next;
	uint64_t wake_ms;

	do {
		start_sent(self);
		start_ready(self);
		drive_timers(self);
		names_expire(self, now_ms());
		end_done(self);
		next = next_step(self, &wake_ms);
		if (next == SLEEP)
			wait_for_sockets(self, earliest(wake_ms, self->curl_due_ms, self->waiting_due_ms));
		else if (next == GO_ON)
			wait_for_sockets(self, 0);
		else if (next != END)
			cancel_running(self, next == CANCEL_ALL);
	} while (next != END);
	return NULL;
}

/* ---------------------------------------------------------------- opening and closing */

static struct status
check_options(const struct outbound *self)
{
	if (self->ca_file && access(self->ca_file, R_OK) != 0)
		return status_make(STATUS_FAILED_PRECONDITION, "authorities '%s' cannot be read", self->ca_file);
	if (!self->proxy)
		return status_ok_value();
	CURLU *url = curl_url();
	CURLUcode code = curl_url_set(url, CURLUPART_URL, self->proxy, CURLU_NON_SUPPORT_SCHEME);
	curl_url_cleanup(url);
	if (code != CURLUE_OK)
		return status_make(STATUS_FAILED_PRECONDITION,
		                   "the egress proxy is no URL such as http://proxy:3128 or socks5h://proxy:1080: %s",
		                   curl_url_strerror(code));
	return status_ok_value();
}

static bool
open_descriptors(struct outbound *self)
{
	struct epoll_event event = {.events = EPOLLIN};

	self->epoll = epoll_create1(EPOLL_CLOEXEC);
	self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.fd = self->wake;
	return self->epoll >= 0 && self->wake >= 0 &&
	       epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->wake, &event) == 0;
}

static void
open_multi(struct outbound *self)
{
	self->multi = curl_multi_init();
	curl_multi_setopt(self->multi, CURLMOPT_SOCKETFUNCTION, watches_ask);
	curl_multi_setopt(self->multi, CURLMOPT_SOCKETDATA, self);
	curl_multi_setopt(self->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(self->multi, CURLMOPT_TIMERDATA, self);
	curl_multi_setopt(self->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	curl_multi_setopt(self->multi, CURLMOPT_MAXCONNECTS, (long)self->max_connections);
	self->curl_due_ms = self->waiting_due_ms = NEVER;
}

/* Signals are for the threads that expect them; those that curl makes for resolving inherit this, too. */
static bool
open_thread(struct outbound *self)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	self->has_thread = pthread_create(&self->thread, NULL, run, self) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (self->has_thread)
		pthread_setname_np(self->thread, "outbound");
	return self->has_thread;
}

struct status
loop_open(struct outbound *self)
{
	/* Counted by curl, and never given back: others in this process may use curl without having counted. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return status_make(STATUS_UNAVAILABLE, "curl cannot be initialised");
	struct status st = check_options(self);
	if (!status_ok(&st))
		return st;
	open_multi(self);
	if (!open_descriptors(self) || !open_thread(self))
		return status_make(STATUS_UNAVAILABLE, "no descriptor or thread for requests to endpoints");
	return st;
}

void
loop_close(struct outbound *self)
{
	if (self->has_thread)
		pthread_join(self->thread, NULL);
	for (size_t i = 0; i < self->used; i++)
		transfer_fini(&self->transfers[i]);
	curl_multi_cleanup(self->multi);
	mem_free(self->watches);
	if (self->wake >= 0)
		close(self->wake);
	if (self->epoll >= 0)
		close(self->epoll);
}
