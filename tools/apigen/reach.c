/*
 * reach: which types the callers of methods can meet, so that documents show these and no internal ones.
 */
#include <string.h>

#include "model.h"

static void
reach_fields(const struct model *model, const struct model_message *message, struct model_reach *reach)
{
	for (size_t i = 0; i < message->field_count; i++) {
		const struct model_field *field = &message->fields[i];
		if (field->message)
			reach_message(model, field->message, reach);
		if (field->enumeration)
			reach->enums[field->enumeration - model->enums] = true;
	}
}

void
reach_message(const struct model *model, const struct model_message *message, struct model_reach *reach)
{
	bool *is_reached = &reach->messages[message - model->messages];

	if (*is_reached)
		return;
	*is_reached = true;
	reach_fields(model, message, reach);
}

struct model_reach
reach_methods(const struct model *model, const char *daemon)
{
	struct model_reach reach = {.messages = ARENA_ARRAY(model->arena, bool, model->message_count + 1),
	                            .enums = ARENA_ARRAY(model->arena, bool, model->enum_count + 1)};

	for (size_t s = 0; s < model->service_count; s++) {
		const struct model_service *service = &model->services[s];
		if (daemon && strcmp(service->daemon, daemon) != 0)
			continue;
		for (size_t m = 0; m < service->method_count; m++) {
			if (!service->methods[m].options->path)
				continue;
			reach_message(model, service->methods[m].request, &reach);
			reach_message(model, service->methods[m].reply, &reach);
		}
	}
	return reach;
}
