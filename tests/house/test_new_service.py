"""A new service needs a .proto, a folder and one line of CMake: here is one, built beside the others."""
import json
import os
import pathlib
import shutil
import subprocess

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("CORBEL_BUILD", SOURCE / "build"))

PROTO = """\
// Says things again.
syntax = "proto2";
package corbel.v1;
import "corbel/options.proto";
option (corbel.daemon) = "echod";

// What is said.
message Saying {
  // The words: at most 100 bytes.
  optional string words = 1 [(corbel.field) = {required: true, max_len: 100, example: "\\"hello\\""}];
}

// Echoes.
service Echoes {
  // Says it again.
  rpc Say(Saying) returns (Saying) {
    option (corbel.method) = {verb: POST path: "/v1/echoes" scope: "echoes.say" idempotent: true cli: "echoes say"};
  }
}
"""

ECHOD = """\
/*
 * echod: says things again.
 */
#include "corbel/echod.handlers.gen.h"
#include "daemon/service.h"

struct status
echoes_say(struct call *call, const Corbel__V1__Saying *request, Corbel__V1__Saying *reply)
{
	(void)call;
	reply->words = request->words;
	return status_ok_value();
}

static const struct service_handlers HANDLERS[] = {{&api_echoes, echoes_handlers}, {NULL, NULL}};

extern const struct service echod_service;
const struct service echod_service = {.name = "echod", .summary = "Says things again", .handlers = HANDLERS};
"""

MAIN = """\
#include "daemon/service.h"

extern const struct service echod_service;

int
main(int argc, char **argv)
{
	return daemon_main(argc, argv, (const struct service *const[]){&echod_service, NULL});
}
"""


def tree_with_a_service(tree):
    """The tree as it is, by links, with nothing but the three additions."""
    for name in ("clients", "cmake", "common", "tools"):
        (tree / name).symlink_to(SOURCE / name)
    for name in ("services", "proto/corbel"):
        (tree / name).mkdir(parents=True)
        for path in (SOURCE / name).iterdir():
            (tree / name / path.name).symlink_to(path)
    (tree / "proto/corbel/echo.proto").write_text(PROTO)
    (tree / "services/echod").mkdir()
    (tree / "services/echod/echod.c").write_text(ECHOD)
    (tree / "services/echod/main.c").write_text(MAIN)
    lines = (SOURCE / "CMakeLists.txt").read_text()
    (tree / "CMakeLists.txt").write_text(lines.replace("\ncorbel_clients()", "corbel_service(echod)\n\ncorbel_clients()"))


def run(*argv):
    ran = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


def test_a_new_service_needs_a_proto_a_folder_and_a_line(tmp_path):
    tree, build = tmp_path / "tree", tmp_path / "build"
    tree.mkdir()
    tree_with_a_service(tree)
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run("cmake", "-G", "Ninja", "-S", tree, "-B", build, "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_OPTIMIZE_DEPENDENCIES=ON", *launcher)
    # The service alone: its handlers fit the generated prototypes, its daemon and `corbel serve` will have it.
    run("ninja", "-C", build, "libservice_echod.a")
    assert "echod_service" in run("nm", build / "libservice_echod.a")
    assert "&echod_service" in (build / "gen/corbel/services.gen.h").read_text()
    targets = run("ninja", "-C", build, "-t", "query", "bin/echod")
    assert "libservice_echod.a" in targets
    # The rest follows from the contract: route, document, command, reference.
    say = json.loads((build / "gen/openapi.json").read_text())["paths"]["/v1/echoes"]["post"]
    assert say["x-corbel-cli"] == "corbel echoes say" and say["x-corbel-scope"] == "echoes.say"
    table = (build / "gen/corbel/contract.gen.c").read_text()
    assert '.path = "/v1/echoes"' in table and '.cli = "echoes say"' in table and "&api_echoes," in table
    assert "Says it again." in (build / "gen/docs/api/echod.md").read_text()
