/*
 * runner: programs run by the real zygote: each outcome, its texts and its figures.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_process.h"
#include "support/test_runner.h"

static struct runner *runner;

static void
start_runner(void)
{
	runner = test_runner_start(NULL);
}

static void
stop_runner(void)
{
	runner_stop(runner, 1000);
}

/* What becomes of a program; fails with everything it said when it is something else. */
static struct test_outcome
expect(enum runner_outcome outcome, const char *code)
{
	struct test_outcome out = test_runner_run(runner, code, "{\"numbers\": [1, 2, 3], \"name\": \"Zoë\"}");

	ck_assert_msg(out.outcome == outcome, "%s instead of %s: %s\n%s%s", runner_outcome_name(out.outcome),
	              runner_outcome_name(outcome), out.message, out.traceback, out.system_call);
	return out;
}

/* The same without static check and with Python's own builtins. */
static struct test_outcome
expect_unchecked(enum runner_outcome outcome, const char *code)
{
	struct runner_request request = {.code = code, .code_size = strlen(code), .is_unchecked = true};
	struct test_outcome out = test_runner_request(runner, &request);

	ck_assert_msg(out.outcome == outcome, "%s instead of %s: %s\n%s%s", runner_outcome_name(out.outcome),
	              runner_outcome_name(outcome), out.message, out.traceback, out.system_call);
	return out;
}

static void
expect_result(const char *code, const char *result)
{
	struct test_outcome out = expect(RUNNER_OK, code);

	ck_assert_str_eq(out.result, result);
	test_outcome_free(&out);
}

/* ---------------------------------------------------------------- ok */

START_TEST(a_program_reads_context_and_sets_result)
{
	expect_result("result = sum(context['numbers']) * 2", "12");
	expect_result("result = {'hello': context['name']}", "{\"hello\":\"Zoë\"}");
	expect_result("x = 1", "null");
}
END_TEST

START_TEST(a_program_may_define_process_instead)
{
	expect_result("def process(data):\n    return len(data['numbers'])", "3");
	expect_result("result = 1\ndef process(data):\n    return 2", "1");
}
END_TEST

START_TEST(allowed_modules_work)
{
	expect_result(
	    "import json, math, statistics, datetime, re, decimal, fractions, hashlib, hmac, base64, zlib\n"
	    "import urllib.parse\nfrom collections import abc, Counter\nfrom datetime import timedelta\n"
	    "d = datetime.datetime.strptime('2026-01-31', '%Y-%m-%d') + timedelta(days=1)\n"
	    "result = [d.strftime('%d %B'), hashlib.sha256(b'').hexdigest()[:8],"
	    " hmac.new(b'k', b'm', 'sha256').hexdigest()[:8], str(decimal.Decimal('0.1') * 3),"
	    " base64.b64encode(zlib.decompress(zlib.compress(b'hi'))).decode(),"
	    " urllib.parse.quote('a b'), statistics.median([3, 1, 2]), re.sub('b+', 'c', 'abbb')]",
	    "[\"01 February\",\"e3b0c442\",\"b60090e3\",\"0.3\",\"aGk=\",\"a%20b\",2,\"ac\"]");
}
END_TEST

START_TEST(what_the_interpreter_would_look_up_on_disk_is_there_already)
{
	expect_result(
	    "import datetime, time, calendar\nresult = [datetime.datetime.now().astimezone().utcoffset().seconds,"
	    " time.localtime().tm_gmtoff, calendar.month_name[2]]",
	    "[0,0,\"February\"]");
	expect_result("from __future__ import annotations\nfrom dataclasses import dataclass, asdict\n"
	              "from typing import ClassVar, NamedTuple\nfrom enum import Enum\n"
	              "@dataclass\nclass P:\n  x: int\n  k: ClassVar[int] = 1\nclass N(NamedTuple):\n  a: int\n"
	              "class E(Enum):\n  A = 1\nresult = [asdict(P(2)), N(3).a, E.A.name, E(1).value]",
	              "[{\"x\":2},3,\"A\",1]");
	expect_result("result = ['é'.encode('koi8-r', 'ignore').decode(), 'bücher'.encode('idna').decode()]",
	              "[\"\",\"xn--bcher-kva\"]");
	struct test_outcome out = expect(RUNNER_RUNTIME_ERROR, "'x'.encode('big5')");
	ck_assert_ptr_nonnull(strstr(out.message, "LookupError"));
	test_outcome_free(&out);
	expect_result("x = 1 is 1\nresult = '\\d'", "\"\\\\d\"");
	expect_result("class D:\n  def __del__(self): 1 / 0\nx = D()\ndel x\nresult = 1", "1");
}
END_TEST

START_TEST(what_is_printed_is_kept_also_when_the_program_fails)
{
	struct test_outcome out = expect(RUNNER_RUNTIME_ERROR, "print('one', 2)\nprint('drei ☃', end='')\n1 / 0");

	ck_assert_str_eq(out.log, "one 2\ndrei ☃");
	ck_assert(!out.is_log_cut);
	test_outcome_free(&out);
}
END_TEST

START_TEST(a_log_beyond_its_limit_is_cut)
{
	static const char CODE[] = "for i in range(100000): print('x' * 99)\nresult = 1";
	struct runner_request request = {.code = CODE, .code_size = sizeof(CODE) - 1, .limits.log_bytes = 1050};
	struct test_outcome out = test_runner_request(runner, &request);

	ck_assert_int_eq(out.outcome, RUNNER_OK);
	ck_assert(out.is_log_cut);
	ck_assert_uint_eq(strlen(out.log), 1050);
	test_outcome_free(&out);
}
END_TEST

START_TEST(what_a_run_used_is_measured)
{
	struct test_outcome small = expect(RUNNER_OK, "result = 1");
	struct test_outcome large = expect(RUNNER_OK, "x = bytearray(50 * 1024 * 1024)\n"
	                                              "for i in range(0, len(x), 4096): x[i] = 1\n"
	                                              "t = 0\nfor i in range(2000000): t += i\nresult = 2");

	ck_assert_uint_lt(small.memory_peak_bytes, 8u << 20);
	ck_assert_uint_ge(large.memory_peak_bytes, 49u << 20);
	ck_assert_uint_lt(large.memory_peak_bytes, 60u << 20);
	ck_assert_uint_gt(large.cpu_us, 10000);
	ck_assert_uint_ge(large.wall_us, large.cpu_us / 2);
	ck_assert_uint_gt(small.cpu_us, 0);
	test_outcome_free(&small);
	test_outcome_free(&large);
}
END_TEST

START_TEST(nothing_of_a_run_is_seen_by_the_next)
{
	expect_result("import json, math\nmath.marker = json.marker = 1\nresult = 1", "1");
	for (int i = 0; i < 6; i++)
		expect_result("import json, math\nresult = hasattr(math, 'marker') or hasattr(json, 'marker')",
		              "false");
}
END_TEST

START_TEST(random_numbers_differ_between_runs)
{
	struct test_outcome first = expect(RUNNER_OK, "import random, secrets\nresult = [random.random()]");
	struct test_outcome second = expect(RUNNER_OK, "import random, secrets\nresult = [random.random()]");

	ck_assert_str_ne(first.result, second.result);
	test_outcome_free(&first);
	test_outcome_free(&second);
}
END_TEST

/* ---------------------------------------------------------------- the program's own failures */

START_TEST(an_exception_has_a_traceback_of_the_programs_own_lines)
{
	static const char CODE[] =
	    "def inner(x):\n    return 1 / x\n\ndef outer():\n    import json\n    inner(0)\n\nouter()";
	struct runner_request request = {.code = CODE, .code_size = sizeof(CODE) - 1, .file_name = "tax.py"};
	struct test_outcome out = test_runner_request(runner, &request);

	ck_assert_int_eq(out.outcome, RUNNER_RUNTIME_ERROR);
	ck_assert_str_eq(out.message, "ZeroDivisionError: division by zero");
	ck_assert_str_eq(out.traceback, "Traceback (most recent call last):\n"
	                                "  File \"tax.py\", line 8, in <module>\n    outer()\n"
	                                "  File \"tax.py\", line 6, in outer\n    inner(0)\n"
	                                "  File \"tax.py\", line 2, in inner\n    return 1 / x\n"
	                                "ZeroDivisionError: division by zero");
	test_outcome_free(&out);
}
END_TEST

START_TEST(recursion_and_long_integers_are_bounded)
{
	struct test_outcome out = expect(RUNNER_RUNTIME_ERROR, "def f(): return f()\nf()");

	ck_assert_ptr_nonnull(strstr(out.message, "RecursionError"));
	ck_assert_ptr_nonnull(strstr(out.traceback, "more frames"));
	test_outcome_free(&out);
	out = expect(RUNNER_RUNTIME_ERROR, "result = str(10 ** 5000)");
	ck_assert_ptr_nonnull(strstr(out.message, "4300 digits"));
	test_outcome_free(&out);
}
END_TEST

START_TEST(a_result_that_is_no_json_is_told_apart)
{
	static const char *const CODES[] = {
	    "result = {1, 2}",
	    "result = float('nan')",
	    "result = object()",
	    "result = '\\ud800'",
	    "result = 'a\\0b'",
	    "result = []\nfor i in range(40): result = [result]",
	    "result = []\nresult.append(result)",
	    "class X(dict):\n  def items(self): raise ValueError('no')\nresult = X(a=1)",
	};

	for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
		struct test_outcome out = expect(RUNNER_RESULT_NOT_JSON, CODES[i]);
		ck_assert_ptr_nonnull(strstr(out.message, "not JSON"));
		test_outcome_free(&out);
	}
}
END_TEST

START_TEST(a_program_that_ends_its_process_has_failed)
{
	struct test_outcome out = expect_unchecked(RUNNER_RUNTIME_ERROR, "import os\nprint('bye')\nos._exit(0)");

	ck_assert_str_eq(out.log, "bye\n");
	test_outcome_free(&out);
	out = expect(RUNNER_RUNTIME_ERROR, "raise SystemExit(3)");
	ck_assert_str_eq(out.message, "SystemExit: 3");
	test_outcome_free(&out);
}
END_TEST

/* ---------------------------------------------------------------- the static check */

static void
expect_violation(const char *code, uint32_t line, uint32_t column, const char *reason)
{
	struct test_outcome out = expect(RUNNER_INVALID_CODE, code);

	ck_assert_uint_ge(out.violation_count, 1);
	ck_assert_uint_eq(out.line, line);
	ck_assert_uint_eq(out.column, column);
	ck_assert_msg(strstr(out.reason, reason) != NULL, "'%s' in '%s'", reason, out.reason);
	test_outcome_free(&out);
}

START_TEST(the_static_check_names_line_column_and_reason)
{
	expect_violation("x = (1 +\n", 1, 5, "'(' was never closed");
	expect_violation("import json, os\n", 1, 1, "'os'");
	expect_violation("x = 1\nfrom os.path import join", 2, 1, "'os.path'");
	expect_violation("x = 1\ny = eval('x')", 2, 5, "eval()");
	expect_violation("y = open", 1, 5, "open()");
	expect_violation("x = ().__class__", 1, 5, "__class__");
	expect_violation("getattr(1, '__class__')", 1, 12, "attribute");
	expect_violation("'{0.__class__}'.format(1)", 1, 1, "attribute");
	expect_violation("import random\nrandom._os", 2, 1, "private");
	expect_violation("return 1", 1, 1, "outside function");
}
END_TEST

/* Of `times` times `part`, behind "result = " and in front of "1". */
static char *
repeated(const char *part, size_t times)
{
	size_t length = strlen(part);
	char *code = malloc(16 + times * length), *at = code;

	ck_assert_ptr_nonnull(code);
	at += sprintf(at, "result = ");
	for (size_t i = 0; i < times; i++, at += length)
		memcpy(at, part, length);
	strcpy(at, "1");
	return code;
}

START_TEST(code_that_no_compiler_takes_is_invalid)
{
	static const char *const PARTS[] = {"-", "1 + ", "not ", "[", "x.a."};

	for (size_t i = 0; i < sizeof(PARTS) / sizeof(PARTS[0]); i++) {
		char *code = repeated(PARTS[i], 20000);
		struct test_outcome out = expect(RUNNER_INVALID_CODE, code);
		ck_assert_str_ne(out.reason, "");
		test_outcome_free(&out);
		free(code);
	}
	expect_result("\xef\xbb\xbfresult = 1", "1");
}
END_TEST

START_TEST(an_exception_may_lie_about_itself)
{
	struct test_outcome out =
	    expect(RUNNER_RUNTIME_ERROR, "class M(type):\n  @property\n  def __name__(c): return 1 / 0\n"
	                                 "class E(Exception, metaclass=M): pass\nraise E()");

	ck_assert_str_eq(out.message, "exception");
	test_outcome_free(&out);
	out =
	    expect(RUNNER_RUNTIME_ERROR, "class E(Exception):\n  def __str__(self): raise SystemExit\nraise E()");
	ck_assert_str_eq(out.message, "E");
	test_outcome_free(&out);
}
END_TEST

START_TEST(ordinary_classes_pass_the_static_check)
{
	expect_result(
	    "class A:\n  def __init__(self): self.x = 1\n  def __eq__(self, o): return True\n"
	    "class B(A):\n  def __init__(self):\n    super().__init__()\n    self.name = type(self).__name__\n"
	    "result = [B().name, B() == 1, f'{B().x:>3}']",
	    "[\"B\",true,\"  1\"]");
}
END_TEST

START_TEST(validation_executes_nothing)
{
	static const char GOOD[] = "print('never')\nwhile True: pass", BAD[] = "import socket\nwhile True: pass";
	struct runner_request request = {.code = GOOD, .code_size = sizeof(GOOD) - 1, .mode = RUNNER_VALIDATE};
	struct test_outcome out = test_runner_request(runner, &request);

	ck_assert_int_eq(out.outcome, RUNNER_OK);
	ck_assert_str_eq(out.log, "");
	test_outcome_free(&out);
	request.code = BAD;
	request.code_size = sizeof(BAD) - 1;
	out = test_runner_request(runner, &request);
	ck_assert_int_eq(out.outcome, RUNNER_INVALID_CODE);
	ck_assert_str_eq(out.reason, "import of 'socket' is not allowed");
	test_outcome_free(&out);
}
END_TEST

/* ---------------------------------------------------------------- limits */

START_TEST(processor_time_ends_a_loop_in_python_and_in_c)
{
	static const char *const CODES[] = {"while True: pass", "sum(range(10 ** 12))", "9 ** (9 ** 9)",
	                                    "import re\nre.match('(a+)+$', 'a' * 60 + 'b')"};

	for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
		struct runner_request request = {
		    .code = CODES[i], .code_size = strlen(CODES[i]), .limits = {.cpu_ms = 150, .wall_ms = 20000}};
		struct test_outcome out = test_runner_request(runner, &request);
		ck_assert_msg(out.outcome == RUNNER_CPU_LIMIT, "%s: %s %s", CODES[i],
		              runner_outcome_name(out.outcome), out.message);
		ck_assert_uint_ge(out.cpu_us, 150000);
		ck_assert_uint_lt(out.cpu_us, 1000000);
		test_outcome_free(&out);
	}
}
END_TEST

START_TEST(wall_time_ends_a_sleeping_program)
{
	static const char CODE[] = "import time\nprint('zzz')\ntime.sleep(60)";
	struct runner_request request = {.code = CODE, .code_size = sizeof(CODE) - 1, .limits.wall_ms = 200};
	struct test_outcome out = test_runner_request(runner, &request);

	ck_assert_int_eq(out.outcome, RUNNER_TIMEOUT);
	ck_assert_str_eq(out.log, "zzz\n");
	ck_assert_uint_ge(out.wall_us, 200000);
	ck_assert_uint_lt(out.cpu_us, 150000);
	test_outcome_free(&out);
}
END_TEST

START_TEST(memory_beyond_the_limit_is_refused)
{
	static const char *const CODES[] = {
	    "x = [0] * 10 ** 9",
	    "x = bytearray(10 ** 9)",
	    "x = []\nwhile True: x.append('a' * 100000)",
	    "x = []\nwhile True: x.append(len(x))",
	    "x = 1 << (8 * 10 ** 9)",
	    "import zlib\nx = zlib.decompress(zlib.compress(bytes(10 ** 8)) ) * 10",
	};

	for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
		struct test_outcome out = expect(RUNNER_MEMORY_LIMIT, CODES[i]);
		test_outcome_free(&out);
	}
}
END_TEST

START_TEST(a_result_beyond_its_limit_is_refused)
{
	struct test_outcome out = expect(RUNNER_OUTPUT_LIMIT, "result = 'x' * (1 << 20)");

	ck_assert_str_eq(out.result, "");
	test_outcome_free(&out);
	out = expect_unchecked(RUNNER_OK, "result = 'x' * ((1 << 20) - 2)");
	test_outcome_free(&out);
}
END_TEST

/* ---------------------------------------------------------------- the kernel */

START_TEST(a_refused_system_call_is_named)
{
	static const struct {
		const char *code, *system_call;
	} CASES[] = {
	    {"import os\nos.open('/etc/passwd', 0)", "openat"},
	    {"import os\nos.pipe()", "pipe2"},
	    {"import os\nos.execv('/bin/sh', ['sh'])", "execve"},
	    {"import os\nos.kill(1, 9)", "kill"},
	    {"import os\nos.write(5, b'x')", "write"},
	    {"import os\nos.read(1, 1)", "read"},
	};

	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct test_outcome out = expect_unchecked(RUNNER_SECURITY_VIOLATION, CASES[i].code);
		ck_assert_int_ge(out.system_call_number, 0);
		ck_assert_str_eq(out.system_call, CASES[i].system_call);
		ck_assert_ptr_nonnull(strstr(out.message, out.system_call));
		test_outcome_free(&out);
	}
}
END_TEST

START_TEST(nonsense_on_the_channel_harms_only_its_own_run)
{
	static const char *const CODES[] = {
	    "import os\nos.write(1, b'\\xff' * 100)",
	    "import os\nos.write(1, b'\\2\\0\\0\\0\\xff\\xff\\xff\\x7f')",
	    "import os\nos.write(1, b'\\2\\0\\0\\0\\x18\\0\\0\\0' + b'\\x0a\\0\\0\\0' + bytes(20))",
	    "import os\nwhile True: os.write(1, b'\\1\\0\\0\\0\\0\\x10\\0\\0' + b'x' * 4096)",
	};

	for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
		struct test_outcome out = expect_unchecked(RUNNER_SECURITY_VIOLATION, CODES[i]);
		test_outcome_free(&out);
	}
	expect_result("result = 1", "1");
}
END_TEST

START_TEST(big_requests_and_results_pass)
{
	size_t size = RUNNER_CONTEXT_MAX - 2;
	char *context = malloc(size + 3);
	ck_assert_ptr_nonnull(context);
	memset(context, 'a', size + 2);
	context[0] = context[size + 1] = '"';
	context[size + 2] = '\0';
	struct runner_request request = {.code = "result = context[:-2]",
	                                 .code_size = strlen("result = context[:-2]"),
	                                 .context = context,
	                                 .context_size = size + 2};
	struct test_outcome out = test_runner_request(runner, &request);

	ck_assert_msg(out.outcome == RUNNER_OK, "%s", out.message);
	ck_assert_uint_eq(strlen(out.result), size);
	test_outcome_free(&out);
	free(context);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("runner");
	TCase *ok = tcase_create("ok"), *failures = tcase_create("failures"), *kernel = tcase_create("kernel");

	tcase_add_checked_fixture(ok, start_runner, stop_runner);
	tcase_add_test(ok, a_program_reads_context_and_sets_result);
	tcase_add_test(ok, a_program_may_define_process_instead);
	tcase_add_test(ok, allowed_modules_work);
	tcase_add_test(ok, what_the_interpreter_would_look_up_on_disk_is_there_already);
	tcase_add_test(ok, what_is_printed_is_kept_also_when_the_program_fails);
	tcase_add_test(ok, a_log_beyond_its_limit_is_cut);
	tcase_add_test(ok, what_a_run_used_is_measured);
	tcase_add_test(ok, nothing_of_a_run_is_seen_by_the_next);
	tcase_add_test(ok, random_numbers_differ_between_runs);
	tcase_add_test(ok, big_requests_and_results_pass);
	suite_add_tcase(suite, ok);

	tcase_add_checked_fixture(failures, start_runner, stop_runner);
	tcase_add_test(failures, an_exception_has_a_traceback_of_the_programs_own_lines);
	tcase_add_test(failures, recursion_and_long_integers_are_bounded);
	tcase_add_test(failures, a_result_that_is_no_json_is_told_apart);
	tcase_add_test(failures, a_program_that_ends_its_process_has_failed);
	tcase_add_test(failures, the_static_check_names_line_column_and_reason);
	tcase_add_test(failures, code_that_no_compiler_takes_is_invalid);
	tcase_add_test(failures, an_exception_may_lie_about_itself);
	tcase_add_test(failures, ordinary_classes_pass_the_static_check);
	tcase_add_test(failures, validation_executes_nothing);
	suite_add_tcase(suite, failures);

	tcase_add_checked_fixture(kernel, start_runner, stop_runner);
	tcase_add_test(kernel, processor_time_ends_a_loop_in_python_and_in_c);
	tcase_add_test(kernel, wall_time_ends_a_sleeping_program);
	tcase_add_test(kernel, memory_beyond_the_limit_is_refused);
	tcase_add_test(kernel, a_result_beyond_its_limit_is_refused);
	tcase_add_test(kernel, a_refused_system_call_is_named);
	tcase_add_test(kernel, nonsense_on_the_channel_harms_only_its_own_run);
	suite_add_tcase(suite, kernel);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
