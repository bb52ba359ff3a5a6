/*
 * tls: see tls.h.
 *
 * GnuTLS asks a function for the pair at each handshake. The function gets no closure, but libmicrohttpd runs
 * handshakes in the shard's own thread, so the pair in use is a variable of the thread.
 */
#include "tls.h"

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"

#define CHAIN_MAX 10u

struct tls_pair {
	_Atomic unsigned holders;
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned length;
	gnutls_privkey_t key;
};

/* What shows that a file was written or replaced. */
struct mark {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct tls {
	const char *certificate, *key_file;
	struct log *log;
	struct metric_gauge *expires;
	pthread_mutex_t lock; /* guards what follows */
	struct mark certificate_mark, key_mark;
	struct tls_pair *newest;
};

/* ---- pairs ---- */

void
tls_pair_release(struct tls_pair *pair)
{
	if (!pair || atomic_fetch_sub(&pair->holders, 1) > 1)
		return;
	for (unsigned i = 0; i < pair->length; i++)
		gnutls_pcert_deinit(&pair->chain[i]);
	if (pair->key)
		gnutls_privkey_deinit(pair->key);
	mem_free(pair);
}

static struct status
refused(const char *path, int error)
{
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", path, gnutls_strerror(error));
}

/* Whether GnuTLS takes them together, which it does not check of parts that are handed to it one by one. */
static int
check_together(const gnutls_datum_t *certificate, const gnutls_datum_t *key)
{
	gnutls_certificate_credentials_t credentials;
	int error = gnutls_certificate_allocate_credentials(&credentials);

	if (error < 0)
		return error;
	error = gnutls_certificate_set_x509_key_mem2(credentials, certificate, key, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_certificate_free_credentials(credentials);
	return error;
}

static struct status
pair_parse(const struct tls *tls, const gnutls_datum_t *certificate, const gnutls_datum_t *key,
           struct tls_pair *pair)
{
	unsigned length = CHAIN_MAX;
	int error = gnutls_pcert_list_import_x509_raw(pair->chain, &length, certificate, GNUTLS_X509_FMT_PEM, 0);

	if (error < 0)
		return refused(tls->certificate, error);
	pair->length = length;
	error = gnutls_privkey_init(&pair->key);
	if (error >= 0)
		error = gnutls_privkey_import_x509_raw(pair->key, key, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (error >= 0)
		error = check_together(certificate, key);
	return error < 0 ? refused(tls->key_file, error) : status_ok_value();
}

static struct status
pair_load(const struct tls *tls, struct tls_pair **out)
{
	gnutls_datum_t certificate = {NULL, 0}, key = {NULL, 0};
	struct tls_pair *pair = mem_alloc(sizeof(*pair));
	struct status st = status_ok_value();
	int error = gnutls_load_file(tls->certificate, &certificate);

	atomic_store(&pair->holders, 1);
	if (error < 0)
		st = refused(tls->certificate, error);
	if (status_ok(&st) && (error = gnutls_load_file(tls->key_file, &key)) < 0)
		st = refused(tls->key_file, error);
	if (status_ok(&st))
		st = pair_parse(tls, &certificate, &key, pair);
	if (key.data)
		explicit_bzero(key.data, key.size);
	gnutls_free(key.data);
	gnutls_free(certificate.data);
	if (status_ok(&st))
		*out = pair;
	else
		tls_pair_release(pair);
	return st;
}

static int64_t
expiry_of(const struct tls_pair *pair)
{
	gnutls_x509_crt_t leaf;
	gnutls_pcert_st copy = pair->chain[0];

	if (gnutls_pcert_export_x509(&copy, &leaf) < 0)
		return 0;
	int64_t expires = gnutls_x509_crt_get_expiration_time(leaf);
	gnutls_x509_crt_deinit(leaf);
	return expires;
}

/* ---- files ---- */

static struct mark
mark_of(const char *path)
{
	struct stat found;
	if (stat(path, &found) != 0)
		return (struct mark){.size = -1};
	return (struct mark){found.st_dev, found.st_ino, found.st_size, found.st_mtim};
}

static bool
is_same(const struct mark *a, const struct mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Under the lock. */
static struct status
load(struct tls *tls)
{
	struct tls_pair *pair = NULL;
	/* Before the reading: what is written meanwhile shows as a change next time. */
	tls->certificate_mark = mark_of(tls->certificate);
	tls->key_mark = mark_of(tls->key_file);
	struct status st = pair_load(tls, &pair);

	if (!status_ok(&st))
		return st;
	tls_pair_release(tls->newest);
	tls->newest = pair;
	gauge_set(tls->expires, expiry_of(pair));
	return st;
}

struct status
tls_new(const char *certificate, const char *key, struct log *log, struct metrics *metrics, struct tls **out)
{
	static const struct metric_spec EXPIRES = {.name = "corbel_tls_certificate_expires_seconds",
	                                           .help = "When the certificate in use expires, in Unix time."};
	struct tls *tls = mem_alloc(sizeof(*tls));

	tls->certificate = certificate;
	tls->key_file = key;
	tls->log = log;
	tls->expires = metrics_gauge(metrics, &EXPIRES, NULL);
	pthread_mutex_init(&tls->lock, NULL);
	struct status st = load(tls);
	if (status_ok(&st))
		*out = tls;
	else
		tls_free(tls);
	return st;
}

void
tls_free(struct tls *tls)
{
	if (!tls)
		return;
	tls_pair_release(tls->newest);
	pthread_mutex_destroy(&tls->lock);
	mem_free(tls);
}

bool
tls_reload(struct tls *tls, bool always)
{
	pthread_mutex_lock(&tls->lock);
	struct mark certificate = mark_of(tls->certificate), key = mark_of(tls->key_file);
	bool is_due = always || !is_same(&certificate, &tls->certificate_mark) || !is_same(&key, &tls->key_mark);
	struct status st = is_due ? load(tls) : status_ok_value();
	pthread_mutex_unlock(&tls->lock);

	if (!status_ok(&st))
		log_error(tls->log, "certificate refused: the old one stays in use", LOG_STATUS(&st));
	else if (is_due)
		log_info(tls->log, "certificate loaded", LOG_TEXT("file", tls->certificate));
	return is_due && status_ok(&st);
}

struct tls_pair *
tls_pair_newest(struct tls *tls)
{
	pthread_mutex_lock(&tls->lock);
	struct tls_pair *pair = tls->newest;
	atomic_fetch_add(&pair->holders, 1);
	pthread_mutex_unlock(&tls->lock);
	return pair;
}

/* ---- handshakes ---- */

static _Thread_local const struct tls_pair *in_use;

void
tls_use(const struct tls_pair *pair)
{
	in_use = pair;
}

static int
choose(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
       const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain,
       unsigned *length, gnutls_privkey_t *key)
{
	(void)session;
	(void)authorities;
	(void)authority_count;
	(void)algorithms;
	(void)algorithm_count;

	if (!in_use)
		return -1;
	/* GnuTLS only reads them, but its type does not say so. */
	*chain = (gnutls_pcert_st *)(uintptr_t)in_use->chain;
	*length = in_use->length;
	*key = in_use->key;
	return 0;
}

static char PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

const struct MHD_OptionItem *
tls_http_options(void)
{
	static const struct MHD_OptionItem OPTIONS[] = {
	    {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)choose},
	    {MHD_OPTION_HTTPS_PRIORITIES, 0, PRIORITIES},
	    {MHD_OPTION_END, 0, NULL},
	};
	return OPTIONS;
}
