"""What the contract promises to programs of another version, one fact a line: numbers, names and types of fields, values of
enums, and what a method takes, gives and is called over HTTP. `./dev release` keeps the list of the version that it releases.
"""
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
RELEASED = SOURCE / "proto/released.txt"
OPTIONS = "corbel/options.proto"  # read by the build only, never sent
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]|[^\s{}]+')


def described(root):
    """The descriptors of all files below a folder, in protobuf's text format."""
    includes = [f"-I{root}", f"-I{SOURCE / 'proto'}", "-I/usr/include", "-I/usr/local/include"]
    files = sorted(str(path.relative_to(root)) for path in (root / "corbel").glob("*.proto") if path.name != "options.proto")
    made = subprocess.run(["protoc", *includes, "--descriptor_set_out=/dev/stdout", *files], capture_output=True, cwd=root)
    assert made.returncode == 0, made.stderr.decode()
    shown = subprocess.run(["protoc", *includes, "--decode=google.protobuf.FileDescriptorSet", "google/protobuf/descriptor.proto",
                            OPTIONS], input=made.stdout, capture_output=True, cwd=root)
    assert shown.returncode == 0, shown.stderr.decode()
    return shown.stdout.decode()


def parsed(tokens):
    """A message as {name: [values]}; it ends with a brace or the text."""
    found = {}
    for token in tokens:
        if token == "}":
            break
        name, value = token.rstrip(":"), next(tokens)
        found.setdefault(name, []).append(parsed(tokens) if value == "{" else value.strip('"'))
    return found


def one(message, name, default=""):
    return message.get(name, [default])[0]


def option(element, name):
    return one(one(element, "options", {}), f"[corbel.{name}]", {})


def type_of(field):
    kind = one(field, "type").removeprefix("TYPE_").lower()
    return f"{kind} {one(field, 'type_name').lstrip('.')}".strip()


def facts_of_message(message, scope):
    name = f"{scope}.{one(message, 'name')}"
    for field in message.get("field", []):
        label = one(field, "label").removeprefix("LABEL_").lower()
        extra = [f"default {one(field, 'default_value')}"] if "default_value" in field else []
        extra += [f"oneof {one(field, 'oneof_index')}"] if "oneof_index" in field else []
        yield " ".join(["field", name, one(field, "number"), one(field, "name"), label, type_of(field), *extra])
        if one(option(field, "field"), "required") == "true":
            yield f"required {name} {one(field, 'name')}"
    for nested in message.get("nested_type", []):
        yield from facts_of_message(nested, name)
    for enum in message.get("enum_type", []):
        yield from facts_of_enum(enum, name)


def facts_of_enum(enum, scope):
    for value in enum["value"]:
        yield f"value {scope}.{one(enum, 'name')} {one(value, 'number')} {one(value, 'name')}"


def facts_of_service(service, scope):
    for method in service.get("method", []):
        said = option(method, "method")
        http = [f"{one(said, 'verb')} {one(said, 'path')}"] if "path" in said else ["internal"]
        http += [f"{word} {one(said, word)}" for word in ("scope", "success") if word in said]
        yield " ".join(["method", f"{scope}.{one(service, 'name')}.{one(method, 'name')}", one(method, "input_type").lstrip("."),
                        one(method, "output_type").lstrip("."), *http])


def facts(root=SOURCE / "proto"):
    found = []
    for file in parsed(iter(TOKEN.findall(described(root)))).get("file", []):
        scope = one(file, "package")
        for key, of in (("message_type", facts_of_message), ("enum_type", facts_of_enum), ("service", facts_of_service)):
            for element in file.get(key, []):
                found += of(element, scope)
    return sorted(found)


def breaches(released, now):
    """What a program of the released version would trip over: a fact that no longer holds, and a field that it is suddenly
    required to send. What is new is no breach."""
    known = {line.split()[1] for line in released if line.startswith("field ")}
    is_promise = [line for line in released if not line.startswith("required ")]
    return ([f"no longer true: {line}" for line in is_promise if line not in set(now)] +
            [f"callers do not send it: {line}" for line in now
             if line.startswith("required ") and line.split()[1] in known and line not in released])


if __name__ == "__main__":
    sys.stdout.write("\n".join(facts()) + "\n")
