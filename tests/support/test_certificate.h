/*
 * test_certificate: a key and a certificate that it has signed itself, made by openssl in a test's directory.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_CERTIFICATE_H
#define CORBEL_TESTS_SUPPORT_TEST_CERTIFICATE_H

#include "support/test_dir.h"

struct test_certificate {
	char certificate[256]; /* path of the PEM; its own authority */
	char key[256];         /* path of the PEM */
};

/* DIRECTORY/NAME.pem and NAME.key, for the host "localhost"; aborts the test when it cannot. */
void test_certificate_make(const struct test_dir *dir, const char *name, struct test_certificate *out);

#endif
