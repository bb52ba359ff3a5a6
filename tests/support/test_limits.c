/*
 * test_limits: see test_limits.h.
 */
#include "support/test_limits.h"

#include <check.h>
#include <stdio.h>

#include "support/test_process.h"

#define TENANT   "ten_1"
#define ARGS_MAX 8
#define DAY_MS   UINT64_C(86400000)

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

static char *
text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

void
test_limits_start(struct test_limits *rig, const struct service *const *services, struct test_redis *redis,
                  const char *const *options)
{
	const char *argv[ARGS_MAX] = {"test", "--admin.listen=", "--log.level=error"};
	int argc = 3;

	test_dir_make(&rig->dir);
	arena_init(&rig->arena, 65536, SIZE_MAX);
	rig->redis = redis;
	argv[argc++] = arena_printf(&rig->arena, "--data=%s", rig->dir.path);
	if (redis)
		argv[argc++] = arena_printf(&rig->arena, "--redis.url=%s", redis->url);
	for (; options && *options; options++) {
		ck_assert_int_lt(argc, ARGS_MAX);
		argv[argc++] = *options;
	}
	test_host_start(&rig->self, services, argv, argc);
}

void
test_limits_stop(struct test_limits *rig)
{
	test_host_stop(&rig->self);
	arena_fini(&rig->arena);
	if (rig->redis)
		test_redis_stop(rig->redis);
	test_dir_remove(&rig->dir);
}

static const void *
call(struct test_limits *rig, struct arena *arena, const struct api_method *method,
     const ProtobufCMessage *request)
{
	ProtobufCMessage *reply;
	must(host_call(rig->self.host, method, request, 5000, arena, &reply));
	return reply;
}

const char *
test_limits_make(struct test_limits *rig, const struct test_limit *limit)
{
	Corbel__V1__CreateLimitRequest request = CORBEL__V1__CREATE_LIMIT_REQUEST__INIT;

	request.name = text(limit->name);
	request.has_strategy = request.has_limit = request.has_window_ms = true;
	request.strategy = limit->strategy ? limit->strategy : CORBEL__V1__STRATEGY__FIXED_WINDOW;
	request.limit = limit->limit;
	request.window_ms = limit->window_ms ? limit->window_ms : DAY_MS;
	request.has_on_failure = limit->on_failure != CORBEL__V1__FAILURE_MODE__FAILURE_MODE_UNSET;
	request.on_failure = limit->on_failure;
	request.tenant_id = text(TENANT);
	return ((const Corbel__V1__Limit *)call(rig, &rig->arena, LIMITS_CREATE, &request.base))->id;
}

const Corbel__V1__LimitState *
test_limits_take(struct test_limits *rig, struct arena *arena, const char *limit, const char *key,
                 uint64_t cost)
{
	Corbel__V1__CheckRequest request = CORBEL__V1__CHECK_REQUEST__INIT;
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[] = {&check};

	check.limit = text(limit);
	check.key = text(key);
	check.has_cost = true;
	check.cost = cost;
	request.n_checks = 1;
	request.checks = checks;
	request.tenant_id = text(TENANT);
	return ((const Corbel__V1__CheckReply *)call(rig, arena, RATELIMITS_CHECK, &request.base))->limits[0];
}

void
test_limits_give_back(struct test_limits *rig, const char *limit, const char *key, uint64_t units)
{
	Corbel__V1__GiveBackRequest request = CORBEL__V1__GIVE_BACK_REQUEST__INIT;
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[] = {&check};

	check.limit = text(limit);
	check.key = text(key);
	check.has_cost = true;
	check.cost = units;
	request.n_checks = 1;
	request.checks = checks;
	request.tenant_id = text(TENANT);
	(void)call(rig, &rig->arena, RATELIMITS_GIVE_BACK, &request.base);
}

void
test_limits_reset(struct test_limits *rig, const char *limit, const char *key)
{
	Corbel__V1__ResetRequest request = CORBEL__V1__RESET_REQUEST__INIT;

	request.limit = text(limit);
	request.key = text(key);
	request.tenant_id = text(TENANT);
	(void)call(rig, &rig->arena, RATELIMITS_RESET, &request.base);
}

void
test_limits_raise(struct test_limits *rig, const char *id, uint64_t limit)
{
	Corbel__V1__UpdateLimitRequest request = CORBEL__V1__UPDATE_LIMIT_REQUEST__INIT;

	request.id = text(id);
	request.has_limit = true;
	request.limit = limit;
	(void)call(rig, &rig->arena, LIMITS_UPDATE, &request.base);
}

void
test_limits_await_redis(struct test_limits *rig, const char *limit, uint64_t ms)
{
	uint64_t start_ms = test_now_ms();

	while (test_limits_take(rig, &rig->arena, limit, "probe", 1)->degraded) {
		ck_assert_uint_lt(test_now_ms() - start_ms, ms);
		test_pause();
	}
}
