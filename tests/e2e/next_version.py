"""The version after this one: the tree with what a version may add, built beside it. In every service a method and a migration;
in the contract a field that is stored and shown, and a value of an enum."""
import re
import shutil
import subprocess

BUILD_S = 1500
DAEMONS = ("accountd", "ratelimitd", "webhookd", "cached", "ingress")
NOUNS = {  # of each daemon: file of the contract, service, its request, its reply, prefix of its handlers, a table
    "accountd": ("accounts", "Tenants", "GetTenantRequest", "Tenant", "tenants", "tenants"),
    "ratelimitd": ("ratelimits", "Limits", "GetLimitRequest", "Limit", "limits", "limits"),
    "webhookd": ("events", "EventTypes", "GetEventTypeRequest", "EventType", "event_types", "events"),
    "cached": ("cache", "CacheNamespaces", "CacheNamespaceRequest", "CacheNamespace", "cache_namespaces", "namespaces"),
}
NOTE = "  // What the next version notes.\n  optional string next_note = 900 [(corbel.field) = {max_len: 100}];\n"
METHOD = """\
service {service} {{
  // The same by a way that only the next version has.
  rpc Next({request}) returns ({reply}) {{
    option (corbel.method) = {{verb: GET path: "/v1/next-{noun}/{{{key}}}" scope: "{noun}.read" idempotent: true}};
  }}
"""
HANDLER = """\
#include "corbel/{daemon}.methods.gen.h"

struct status
{prefix}_next(struct call *call, const Corbel__V1__{request} *request, Corbel__V1__{reply} *reply)
{{
	return {prefix}_get(call, request, reply);
}}
"""
MIGRATION = "ALTER TABLE {table} ADD COLUMN next_note TEXT;\nCREATE TABLE next_things (id BIGINT PRIMARY KEY, note TEXT NOT NULL);\n"


def path_of_next(daemon, name):
    """The path of the method that only the next version has."""
    return f"/v1/next-{NOUNS[daemon][4].replace('_', '-')}/{name}"


def replaced(text, was, now):
    assert text.count(was) == 1, f"{was!r} is there {text.count(was)} times"
    return text.replace(was, now)


def write(path, text):
    """Only what differs, so that a build that is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or not path.exists() or path.read_text() != text:
        path.unlink(missing_ok=True)
        path.write_text(text)


def link(path, target):
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def contract(name, text):
    for daemon, (file, service, request, reply, prefix, _) in NOUNS.items():
        if file == name:
            key = re.search(rf"service {service} .*?rpc Get\(.*?/{{(\w+)}}", text, re.S).group(1)
            method = METHOD.format(service=service, request=request, reply=reply, noun=prefix.replace("_", "-"), key=key)
            text = replaced(text, f"service {service} {{\n", method)
    if name == "accounts":
        for message in ("Tenant", "CreateTenantRequest"):
            text = replaced(text, f"message {message} {{\n", f"message {message} {{\n{NOTE}")
        text = replaced(text, "enum Strategy {\n", "enum Strategy {\n  // Of the next version.\n  NEXT_STRATEGY = 900;\n")
        # The first value of an enum is its default.
        first = "  // Not given; not a value of JSON.\n  STRATEGY_UNSET = 0;\n"
        text = replaced(replaced(text, first, ""), "enum Strategy {\n", f"enum Strategy {{\n{first}")
    return text


def service(tree, source, daemon):
    """Its folder by links, with a handler, a migration and, in accountd, what keeps the new field."""
    folder, was = tree / "services" / daemon, source / "services" / daemon
    (folder / "schema").mkdir(parents=True, exist_ok=True)
    for path in (*was.iterdir(), *(was / "schema").glob("*.sql")):
        if path.name != "schema" and (daemon, path.name) != ("accountd", "tenants.c"):
            link(folder / path.relative_to(was), path)
    _, _, request, reply, prefix, table = NOUNS[daemon]
    write(folder / "next.c", HANDLER.format(daemon=daemon, prefix=prefix, request=request, reply=reply))
    number = len(list((was / "schema").glob("*.sql"))) + 1
    write(folder / f"schema/{number:03}_next.sql", MIGRATION.format(table=table))
    if daemon == "accountd":
        text = (was / "tenants.c").read_text()
        kept = "\treply->name = request->name;\n\treply->plan"
        write(folder / "tenants.c", replaced(text, kept, f"\treply->next_note = request->next_note;\n{kept}"))


def make_tree(tree, source):
    for name in ("clients", "cmake", "common", "tools"):
        tree.mkdir(parents=True, exist_ok=True)
        link(tree / name, source / name)
    for path in (source / "proto/corbel").glob("*.proto"):
        write(tree / "proto/corbel" / path.name, contract(path.stem, path.read_text()))
    (tree / "services").mkdir(exist_ok=True)
    for path in (source / "services").iterdir():
        if path.name in NOUNS:
            service(tree, source, path.name)
        else:
            link(tree / "services" / path.name, path)
    write(tree / "CMakeLists.txt", (source / "CMakeLists.txt").read_text())


def run(*argv):
    ran = subprocess.run([str(one) for one in argv], capture_output=True, text=True, timeout=BUILD_S)
    assert ran.returncode == 0, f"{ran.stdout[-4000:]}\n{ran.stderr[-2000:]}"


def build(directory, source):
    """The daemons of the tree at `source`; returns where they are. What is there from the last time is built anew only where the
    tree has changed."""
    directory.mkdir(parents=True, exist_ok=True)
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run("cmake", "-G", "Ninja", "-S", source, "-B", directory / "build", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=-O0",
        "-DCORBEL_WERROR=OFF", *launcher)
    run("ninja", "-C", directory / "build", *DAEMONS)
    return directory / "build/bin"


def build_next(directory, source):
    make_tree(directory / "tree", source)
    return build(directory, directory / "tree")
