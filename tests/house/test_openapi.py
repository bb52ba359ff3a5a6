"""The OpenAPI document: current in docs/, sound in itself, and whole."""
import json
import os
import pathlib
import re
import subprocess

import jsonschema
import pytest

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("CORBEL_BUILD", SOURCE / "build"))
MADE = (BUILD / "gen/openapi.json").read_text()
DOCUMENT = json.loads(MADE)
VERBS = ("get", "post", "put", "patch", "delete")


def operations():
    return [(f"{verb} {path}", item[verb]) for path, item in DOCUMENT["paths"].items() for verb in VERBS if verb in item]


def of_services():
    return [(name, operation) for name, operation in operations() if operation["tags"] != ["Front"]]


def nodes(value):
    """Every object of the document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def looked_up(reference):
    found = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def contents(operation):
    """Each media type of the operation's request and replies, with its name."""
    sides = [("request", operation.get("requestBody", {}))]
    for status, reply in operation["responses"].items():
        sides.append((status, looked_up(reply["$ref"]) if "$ref" in reply else reply))
    return [(side, media) for side, holder in sides for media in holder.get("content", {}).values()]


def test_the_copy_in_docs_is_current():
    assert (SOURCE / "docs/openapi.json").read_text() == MADE, "./dev docs renews it"


def test_every_reference_leads_somewhere():
    references = [node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)]
    assert len(references) > 100
    for reference in references:
        assert looked_up(reference)


def test_every_schema_is_one_of_json_schema_2020_12():
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_component_is_used():
    references = {node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    for kind in ("schemas", "responses", "headers", "parameters"):
        for name in DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in references or name == "Problem405", f"{kind}/{name}"


@pytest.mark.parametrize("name,operation", operations(), ids=[name for name, _ in operations()])
def test_every_example_fits_its_schema(name, operation):
    for side, media in contents(operation):
        examples = [media["example"]] if "example" in media else [e["value"] for e in media.get("examples", {}).values()]
        whole = {**media["schema"], "components": DOCUMENT["components"]}
        checker = jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())
        for example in examples:
            for error in checker.iter_errors(example):
                pytest.fail(f"{name} {side}: {error.json_path}: {error.message}")


@pytest.mark.parametrize("name,operation", of_services(), ids=[name for name, _ in of_services()])
def test_every_operation_tells_what_a_caller_needs(name, operation):
    verb, path = name.split(" ")
    assert operation["summary"] and operation["description"] and operation["operationId"]
    assert operation.get("security") == [] or operation["x-corbel-scope"]
    parameters = [looked_up(p["$ref"]) if "$ref" in p else p for p in operation["parameters"]]
    assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
    assert ("Idempotency-Key" in [p["name"] for p in parameters]) == (verb == "post")
    assert all(p["description"] for p in parameters)
    success = [reply for status, reply in operation["responses"].items() if status.startswith("2")]
    assert len(success) == 1 and {"RateLimit", "RateLimit-Policy", "X-Request-Id"} <= set(success[0]["headers"])
    assert {"400", "404", "429", "500", "503", "504"} <= set(operation["responses"])
    for side, media in contents(operation):
        assert "example" in media or "examples" in media, side


def test_every_field_of_every_schema_is_explained():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for field, rules in schema.get("properties", {}).items():
            assert rules["description"], f"{name}.{field}"


def test_no_internal_method_shows():
    assert "ReportUsageRequest" not in MADE and "LeaseRequest" not in MADE and "nulls" not in MADE


def test_problems_name_their_kinds_and_codes():
    responses = DOCUMENT["components"]["responses"]
    assert "`NOT_FOUND`" in responses["Problem404"]["description"]
    assert "#quota-exceeded" in responses["Problem429"]["description"] and "Retry-After" in responses["Problem429"]["headers"]
    assert {"idempotency-in-progress", "already-exists"} <= set(responses["Problem409"]["content"]["application/problem+json"]["examples"])


def test_the_program_prints_the_same_document():
    assert subprocess.run([BUILD / "bin/corbel", "openapi"], capture_output=True, text=True).stdout == MADE
