/*
 * openapi: the parts of the OpenAPI 3.1 document, each written by a file of its own.
 */
#ifndef CORBEL_APIGEN_OPENAPI_H
#define CORBEL_APIGEN_OPENAPI_H

#include "document.h"
#include "model.h"

/* ---- openapi_schema.c ---- */
/* The field as a parameter or a property; `may_be_null` where null clears it. */
void openapi_field_schema(struct document *doc, const struct model_field *field, bool may_be_null);
/* The message as the body of `method`, without what its path gives. */
void openapi_body_schema(struct document *doc, const struct model_method *method);
/* What requests and replies are made of. */
void openapi_schemas(struct document *doc, const struct model *model);

/* ---- openapi_example.c ---- */
/* The member "example" beside a schema. */
void openapi_put_request_example(struct document *doc, const struct model_method *method);
void openapi_put_reply_example(struct document *doc, const struct model_method *method);

/* ---- openapi_responses.c ---- */
void openapi_responses(struct document *doc, const struct model_method *method);
/* Members "responses", "headers" and the schema of problems. */
void openapi_problem_responses(struct document *doc);
void openapi_headers(struct document *doc);
void openapi_problem_schema(struct document *doc);

/* ---- openapi_cloudevents.c ---- */
/* Media types of a body or a reply beside JSON, where the method speaks CloudEvents. */
void openapi_cloudevents_body(struct document *doc, const struct model_method *method);
void openapi_cloudevents_reply(struct document *doc, const struct model_method *method);
/* The schema of a CloudEvent, when any method speaks them. */
void openapi_cloudevents_schema(struct document *doc, const struct model *model);

/* ---- openapi_front.c ---- */
/* Paths that the ingress answers by itself. */
void openapi_front_paths(struct document *doc);
/* What the document says as a whole: "info", "servers", "security". */
void openapi_front_matter(struct document *doc);
void openapi_security_schemes(struct document *doc);
void openapi_parameters(struct document *doc);

#endif
