/*
 * isolation: how runs are confined here, and which processors there are for them.
 */
#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

static Corbel__V1__IsolationState
state_of(enum runner_layer_state state)
{
	if (state == RUNNER_ACTIVE)
		return CORBEL__V1__ISOLATION_STATE__LAYER_ACTIVE;
	return state == RUNNER_OFF ? CORBEL__V1__ISOLATION_STATE__LAYER_OFF
	                           : CORBEL__V1__ISOLATION_STATE__LAYER_UNAVAILABLE;
}

struct status
plugins_isolation(struct call *call, const Corbel__V1__GetIsolationRequest *request,
                  Corbel__V1__GetIsolationReply *reply)
{
	struct sandboxd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct runner_isolation found = {.is_enough = false};
	struct runner *runner = atomic_load(&self->runner);
	const char *policy = config_text(self->env.config, "sandboxd.policy");

	(void)request;
	if (runner)
		runner_isolation(runner, &found);
	reply->layers = ARENA_ARRAY(arena, Corbel__V1__IsolationLayer *, RUNNER_LAYERS);
	for (size_t i = 0; i < (runner ? RUNNER_LAYERS : 0); i++) {
		Corbel__V1__IsolationLayer *layer = ARENA_NEW(arena, Corbel__V1__IsolationLayer);
		corbel__v1__isolation_layer__init(layer);
		layer->name = arena_strdup(arena, runner_layer_name((enum runner_layer)i));
		layer->has_state = true;
		layer->state = state_of(found.layers[i].state);
		layer->detail = found.layers[i].why[0] ? arena_strdup(arena, found.layers[i].why) : NULL;
		reply->layers[reply->n_layers++] = layer;
	}
	reply->has_sufficient = true;
	reply->sufficient = found.is_enough;
	if (!runner)
		reply->reason = (char *)(uintptr_t) "the zygote does not start";
	else if (!found.is_enough)
		reply->reason = arena_printf(arena, "the host does not allow %s", found.missing);
	reply->policy = arena_strdup(arena, policy ? policy : RUNNER_POLICY_DEFAULT);
	return status_ok_value();
}
