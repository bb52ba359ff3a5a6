/*
 * test_certificate: openssl's own program makes them.
 */
#include "support/test_certificate.h"

#include <stdio.h>
#include <stdlib.h>

void
test_certificate_make(const struct test_dir *dir, const char *name, struct test_certificate *out)
{
	char command[1024];

	snprintf(out->certificate, sizeof(out->certificate), "%s/%s.pem", dir->path, name);
	snprintf(out->key, sizeof(out->key), "%s/%s.key", dir->path, name);
	snprintf(
	    command, sizeof(command),
	    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
	    "-addext subjectAltName=DNS:localhost -keyout %s -out %s 2>/dev/null",
	    out->key, out->certificate);
	if (system(command) != 0) {
		fprintf(stderr, "no certificate: %s\n", command);
		abort();
	}
}
