/*
 * routes: which method a verb and path mean, and what path and query put into its request.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"
#include "corbel/contract.gen.h"

#define METHOD(number, v, p)                                                                                 \
	{                                                                                                        \
		.id = (number), .name = p, .verb = (v), .path = (p)                                                  \
	}

/* Paths that meet in every way: literal beside parameter, dead ends that need a step back, rests. */
static const struct api_method METHODS[] = {
    METHOD(1, API_GET, "/v1/things"),
    METHOD(2, API_POST, "/v1/things"),
    METHOD(3, API_GET, "/v1/things/{id}"),
    METHOD(4, API_DELETE, "/v1/things/{id}"),
    METHOD(5, API_GET, "/v1/things/special"),
    METHOD(6, API_POST, "/v1/things/{id}/close"),
    METHOD(7, API_GET, "/v1/things/special/parts/{part}"),
    METHOD(8, API_GET, "/v1/things/{id}/parts/{part}/size"),
    METHOD(9, API_GET, "/v1/files/{path...}"),
    METHOD(10, API_GET, "/v1/files/index"),
    {.id = 11, .name = "internal"},
};
static const struct api_service SERVICE = {
    .name = "Things", .methods = METHODS, .method_count = sizeof(METHODS) / sizeof(METHODS[0])};
static const struct api_service *const SERVICES[] = {&SERVICE, NULL};

static struct routes *routes, *contract;
static struct arena arena;
static struct violations *found;

static void
setup(void)
{
	routes = routes_new(SERVICES);
	contract = routes_new(api_services);
	arena_init(&arena, 4096, 1u << 20);
	found = ARENA_NEW(&arena, struct violations);
}

static void
teardown(void)
{
	routes_free(routes);
	routes_free(contract);
	arena_fini(&arena);
}

/* Its id; 0 when nothing is found, -1 when the verb is wrong. */
static int
match(enum api_verb verb, const char *path, struct route_match *out)
{
	struct route_match spare;
	out = out ? out : &spare;
	switch (routes_match(routes, verb, path, strlen(path), out)) {
	case ROUTE_FOUND:
		return (int)out->method->id;
	case ROUTE_WRONG_VERB:
		return -1;
	default:
		return 0;
	}
}

START_TEST(a_verb_and_path_mean_one_method_or_none)
{
	static const struct {
		enum api_verb verb;
		const char *path;
		int id;
	} TURNS[] = {
	    {API_GET, "/v1/things", 1},
	    {API_POST, "/v1/things", 2},
	    {API_GET, "/v1/things/7", 3},
	    {API_DELETE, "/v1/things/7", 4},
	    {API_GET, "/v1/things/special", 5},     /* the literal wins */
	    {API_DELETE, "/v1/things/special", -1}, /* also over the verb */
	    {API_POST, "/v1/things/special/close", 6},
	    {API_GET, "/v1/things/special/parts/x", 7},
	    {API_GET, "/v1/things/special/parts/x/size", 8}, /* back from the literal's dead end */
	    {API_GET, "/v1/files/a", 9},
	    {API_GET, "/v1/files/a/b/c", 9},
	    {API_GET, "/v1/files/index", 10},
	    {API_GET, "/v1/files/index/x", 9},
	    {API_PUT, "/v1/things", -1},
	    {API_NONE, "/v1/things", -1},
	    {API_GET, "", 0},
	    {API_GET, "/", 0},
	    {API_GET, "/v1", 0},
	    {API_GET, "/v1/", 0},
	    {API_GET, "v1/things", 0},
	    {API_GET, "/v1/things/", 0},
	    {API_GET, "/v1//things", 0},
	    {API_GET, "//v1/things", 0},
	    {API_GET, "/v1/things//parts/x/size", 0},
	    {API_GET, "/v1/files/", 0},
	    {API_GET, "/V1/things", 0},
	    {API_GET, "/v1/things/7/open", 0},
	    {API_GET, "/v1/thing", 0},
	    {API_GET, "/v1/thingsx", 0},
	};

	for (size_t i = 0; i < sizeof(TURNS) / sizeof(TURNS[0]); i++)
		ck_assert_msg(match(TURNS[i].verb, TURNS[i].path, NULL) == TURNS[i].id, "%d %s", TURNS[i].verb,
		              TURNS[i].path);
}
END_TEST

static bool
is_param(const struct route_param *param, const char *field, const char *value)
{
	return strncmp(param->field, field, strlen(field)) == 0 && param->length == strlen(value) &&
	       memcmp(param->value, value, param->length) == 0;
}

START_TEST(parameters_are_named_by_the_methods_own_path)
{
	struct route_match out;

	ck_assert_int_eq(match(API_GET, "/v1/things/special/parts/a%2Fb/size", &out), 8);
	ck_assert_uint_eq(out.param_count, 2);
	ck_assert(is_param(&out.params[0], "id}", "special"));
	ck_assert(is_param(&out.params[1], "part}", "a%2Fb"));
	ck_assert_int_eq(match(API_GET, "/v1/things/special/parts/9", &out), 7);
	ck_assert_uint_eq(out.param_count, 1);
	ck_assert(is_param(&out.params[0], "part}", "9"));
	ck_assert_int_eq(match(API_GET, "/v1/files/a/b c", &out), 9);
	ck_assert_uint_eq(out.param_count, 1);
	ck_assert(is_param(&out.params[0], "path...}", "a/b c"));
}
END_TEST

START_TEST(allowed_verbs_are_listed_for_an_allow_header)
{
	char out[64];

	ck_assert_uint_eq(routes_allowed(routes, "/v1/things", 10, out, sizeof(out)), 9);
	ck_assert_str_eq(out, "GET, POST");
	routes_allowed(routes, "/v1/things/x", 12, out, sizeof(out));
	ck_assert_str_eq(out, "GET, DELETE");
	ck_assert_uint_eq(routes_allowed(routes, "/v1/nowhere", 11, out, sizeof(out)), 0);
	ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(every_method_of_the_contract_is_found_by_its_own_path)
{
	size_t count = 0;

	for (size_t s = 0; api_services[s]; s++) {
		for (size_t m = 0; m < api_services[s]->method_count; m++) {
			const struct api_method *method = &api_services[s]->methods[m];
			struct route_match out;
			if (!method->path)
				continue;
			ck_assert_int_eq(routes_match(contract, method->verb, method->path, strlen(method->path), &out),
			                 ROUTE_FOUND);
			ck_assert_ptr_eq(out.method, method);
			count++;
		}
	}
	ck_assert_uint_gt(count, 20);
}
END_TEST

/* ---------------------------------------------------------------- binding */

/* A request of the method that the path means, with what the path says of it. */
static ProtobufCMessage *
bind_path(enum api_verb verb, const char *path)
{
	struct route_match out;

	found->count = 0;
	ck_assert_int_eq(routes_match(contract, verb, path, strlen(path), &out), ROUTE_FOUND);
	const ProtobufCMessageDescriptor *descriptor = out.method->request->descriptor;
	ProtobufCMessage *message = arena_alloc(&arena, descriptor->sizeof_message);
	protobuf_c_message_init(descriptor, message);
	routes_bind_path(&out, message, &arena, found);
	return message;
}

static const char *
bound_key_id(const char *path)
{
	const Corbel__V1__GetKeyRequest *request = (const Corbel__V1__GetKeyRequest *)bind_path(API_GET, path);
	return found->count == 0 ? request->id : NULL;
}

START_TEST(a_path_parameter_is_decoded_into_its_field)
{
	ck_assert_str_eq(bound_key_id("/v1/keys/key_1"), "key_1");
	ck_assert_str_eq(bound_key_id("/v1/keys/a%2Fb"), "a/b");
	ck_assert_str_eq(bound_key_id("/v1/keys/a+b"), "a+b"); /* a plus is a plus in a path */
	ck_assert_str_eq(bound_key_id("/v1/keys/%E2%82%ac"), "\xE2\x82\xAC");
}
END_TEST

START_TEST(wrong_encoding_in_a_path_is_a_violation)
{
	static const char *const WRONG[] = {"/v1/keys/%",   "/v1/keys/%2",  "/v1/keys/%zz",
	                                    "/v1/keys/%00", "/v1/keys/%ff", "/v1/keys/a%c3"};

	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		ck_assert_ptr_null(bound_key_id(WRONG[i]));
		ck_assert_str_eq(found->items[0].pointer, "/id");
	}
}
END_TEST

static Corbel__V1__ListKeysRequest *
bind_query(const char *query)
{
	Corbel__V1__ListKeysRequest *request = ARENA_NEW(&arena, Corbel__V1__ListKeysRequest);

	found->count = 0;
	corbel__v1__list_keys_request__init(request);
	char *copy = arena_memdup(&arena, query, strlen(query));
	routes_bind_query(copy, strlen(query), KEYS_LIST->request, &request->base, &arena, found);
	return request;
}

START_TEST(query_parameters_become_fields_of_their_types)
{
	Corbel__V1__ListKeysRequest *request = bind_query("page_size=25&page_token=a%20b+c&");
	ck_assert_uint_eq(found->count, 0);
	ck_assert_int_eq((int)request->page_size, 25);
	ck_assert_str_eq(request->page_token, "a b c");
	request = bind_query("");
	ck_assert_uint_eq(found->count, 0);
	ck_assert_ptr_null(request->page_token);
	request = bind_query("page_token=");
	ck_assert_uint_eq(found->count, 0);
	ck_assert_str_eq(request->page_token, "");
}
END_TEST

START_TEST(unknown_repeated_and_wrong_query_parameters_are_violations_by_name)
{
	static const struct {
		const char *query, *pointer;
	} TURNS[] = {
	    {"nothing=1", "/nothing"},
	    {"page_size=many", "/page_size"},
	    {"page_size=1&page_size=2", "/page_size"},
	    {"page_token=%zz", "/page_token"},
	    {"page_size", "/page_size"},
	    {"page_size=99999999999999999999", "/page_size"},
	};

	for (size_t i = 0; i < sizeof(TURNS) / sizeof(TURNS[0]); i++) {
		bind_query(TURNS[i].query);
		ck_assert_msg(found->count == 1, "%s: %zu violations", TURNS[i].query, found->count);
		ck_assert_str_eq(found->items[0].pointer, TURNS[i].pointer);
	}
	bind_query("nothing=1&page_size=x&page_token=%zz");
	ck_assert_uint_eq(found->count, 3);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("routes");
	TCase *tc = tcase_create("routes");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_verb_and_path_mean_one_method_or_none);
	tcase_add_test(tc, parameters_are_named_by_the_methods_own_path);
	tcase_add_test(tc, allowed_verbs_are_listed_for_an_allow_header);
	tcase_add_test(tc, every_method_of_the_contract_is_found_by_its_own_path);
	tcase_add_test(tc, a_path_parameter_is_decoded_into_its_field);
	tcase_add_test(tc, wrong_encoding_in_a_path_is_a_violation);
	tcase_add_test(tc, query_parameters_become_fields_of_their_types);
	tcase_add_test(tc, unknown_repeated_and_wrong_query_parameters_are_violations_by_name);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
