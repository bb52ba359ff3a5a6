/*
 * openapi: CloudEvents beside JSON, where a method's option says so.
 *
 * The schema says what Corbel asks of one; the specification is at https://cloudevents.io.
 */
#include <string.h>

#include "openapi.h"

#define EVENT "{\"$ref\": \"#/components/schemas/CloudEvent\"}"
#define EXAMPLE                                                                                              \
	"{\"specversion\": \"1.0\", \"id\": \"A234-1234-1234\", \"source\": \"https://example.com/orders\", "    \
	"\"type\": \"com.example.order.paid\", \"data\": {\"total\": 120}}"

static void
put_type(struct document *doc, const char *type, const char *schema, const char *example)
{
	put_member(doc, type, '{');
	put_raw_member(doc, "schema", schema);
	put_raw_member(doc, "example", example);
	put_close(doc, '}');
}

void
openapi_cloudevents_body(struct document *doc, const struct model_method *method)
{
	if (!method->options->cloud_events)
		return;
	put_type(doc, "application/cloudevents+json", EVENT, EXAMPLE);
	put_type(doc, "application/cloudevents-batch+json",
	         "{\"type\": \"array\", \"minItems\": 1, \"maxItems\": 100, \"items\": " EVENT "}",
	         "[" EXAMPLE "]");
}

void
openapi_cloudevents_reply(struct document *doc, const struct model_method *method)
{
	if (!method->options->cloud_events || has_body(method))
		return;
	if (strcmp(method->reply->short_name, "Event") == 0)
		put_type(doc, "application/cloudevents+json", EVENT, EXAMPLE);
	else
		put_type(doc, "application/cloudevents-batch+json", "{\"type\": \"array\", \"items\": " EVENT "}",
		         "[" EXAMPLE "]");
}

static bool
has_cloudevents(const struct model *model)
{
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++)
			if (model->services[s].methods[m].options->cloud_events)
				return true;
	return false;
}

void
openapi_cloudevents_schema(struct document *doc, const struct model *model)
{
	static const struct {
		const char *name, *schema;
	} MEMBERS[] = {
	    {"specversion", "{\"const\": \"1.0\", \"description\": \"Version of CloudEvents.\"}"},
	    {"id",
	     "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 512, \"description\": \"Together with "
	     "`source` it names the event for good.\"}"},
	    {"source",
	     "{\"type\": \"string\", \"format\": \"uri-reference\", \"minLength\": 1, \"maxLength\": 1024, "
	     "\"description\": \"Where it happened.\"}"},
	    {"type", "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 128, \"description\": \"Words of "
	             "letters, digits, `_` and `-`, joined by dots.\"}"},
	    {"subject", "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 256, \"description\": \"What it "
	                "happened to.\"}"},
	    {"time", "{\"type\": \"string\", \"format\": \"date-time\", \"description\": \"When it happened.\"}"},
	    {"dataschema",
	     "{\"type\": \"string\", \"format\": \"uri\", \"maxLength\": 1024, \"description\": \"URI "
	     "of the data's schema.\"}"},
	    {"datacontenttype", "{\"type\": \"string\", \"maxLength\": 256, \"description\": \"Media type of the "
	                        "data; JSON when absent.\"}"},
	    {"data", "{\"description\": \"Any JSON value, or text of another type as a string.\"}"},
	    {"data_base64", "{\"type\": \"string\", \"contentEncoding\": \"base64\", \"description\": \"Data of "
	                    "another type as bytes, instead of `data`.\"}"},
	};

	if (!has_cloudevents(model))
		return;
	put_member(doc, "CloudEvent", '{');
	put_text_member(doc, "description",
	                "An event as CloudEvents 1.0 says. Other members are its extensions.");
	put_text_member(doc, "type", "object");
	put_member(doc, "properties", '{');
	for (size_t i = 0; i < sizeof(MEMBERS) / sizeof(MEMBERS[0]); i++)
		put_raw_member(doc, MEMBERS[i].name, MEMBERS[i].schema);
	put_close(doc, '}');
	put_raw_member(doc, "required", "[\"specversion\", \"id\", \"source\", \"type\"]");
	put_raw_member(doc, "additionalProperties", "{\"type\": [\"string\", \"integer\", \"boolean\"]}");
	put_close(doc, '}');
}
