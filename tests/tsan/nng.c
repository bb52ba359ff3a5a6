/*
 * nng: tells ThreadSanitizer what nng's counts of owners publish.
 *
 * Debian's nng is not instrumented, so that the atomic count by which it shares a published message between
 * connections is invisible: the last owner's free() would look like a race with another owner's send. The
 * linker puts these in place of nng's own functions (--wrap) in programs that have the sanitizer.
 */
#include <sanitizer/tsan_interface.h>

int __real_nni_atomic_dec_nv(void *count);
int __wrap_nni_atomic_dec_nv(void *count);
int __real_nni_atomic_get(void *count);
int __wrap_nni_atomic_get(void *count);

int
__wrap_nni_atomic_dec_nv(void *count)
{
	__tsan_release(count);
	int left = __real_nni_atomic_dec_nv(count);
	__tsan_acquire(count);
	return left;
}

int
__wrap_nni_atomic_get(void *count)
{
	int value = __real_nni_atomic_get(count);
	__tsan_acquire(count);
	return value;
}
