"""The generator refuses what the contract may not be, and says where; what it writes says what the contract says."""
import os
import pathlib
import re
import subprocess

import pytest

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("CORBEL_BUILD", SOURCE / "build"))

# Each line that begins with "//" can be left out.
THING = """\
syntax = "proto2";
package corbel.v1;
import "corbel/options.proto";
option (corbel.daemon) = "thingd";
// How a thing looks.
enum Colour {
  // Not given.
  COLOUR_UNSET = 0;
  // As the sky.
  BLUE = 1;
}
// A thing.
message Thing {
  // Its id.
  optional string id = 1 [(corbel.field) = {example: "\\"t\\""}];
  // Its colour.
  optional Colour colour = 2;
}
// Things.
service Things {
  // Makes a thing.
  rpc Create(Thing) returns (Thing) {
    option (corbel.method) = {verb: POST path: "/v1/things" scope: "things.write"};
  }
}
"""
WHAT = {"// How a thing looks.": "enum Colour", "  // Not given.": "value COLOUR_UNSET", "  // As the sky.": "value BLUE",
        "// A thing.": "message Thing", "  // Its id.": "field Thing.id", "  // Its colour.": "field Thing.colour",
        "// Things.": "service Things", "  // Makes a thing.": "method Things.Create"}


@pytest.fixture
def generate(tmp_path):
    """Runs the generator on one file of a contract; returns its outcome and where it wrote."""
    def run(text):
        (tmp_path / "corbel").mkdir(exist_ok=True)
        (tmp_path / "corbel/thing.proto").write_text(text)
        described = subprocess.run(
            ["protoc", f"-I{tmp_path}", f"-I{SOURCE / 'proto'}", "--include_imports", "--include_source_info",
             f"--descriptor_set_out={tmp_path / 'set'}", "corbel/thing.proto"], capture_output=True, text=True, cwd=tmp_path)
        assert described.returncode == 0, described.stderr
        ran = subprocess.run([BUILD / "apigen", f"--descriptor={tmp_path / 'set'}", f"--out={tmp_path / 'out'}"],
                             capture_output=True, text=True, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        return ran, tmp_path / "out"
    return run


def test_a_contract_with_comments_is_generated(generate):
    ran, out = generate(THING)
    assert ran.returncode == 0, ran.stderr
    assert "struct status things_create(" in (out / "corbel/thingd.methods.gen.h").read_text()


@pytest.mark.parametrize("comment", WHAT)
def test_what_has_no_comment_is_refused_with_its_line(generate, comment):
    lines = THING.split("\n")
    at = lines.index(comment)
    ran, out = generate("\n".join(lines[:at] + lines[at + 1:]))
    assert ran.returncode == 1 and not out.exists()
    assert ran.stderr == f"corbel/thing.proto:{at + 1}: {WHAT[comment]} needs a comment\n"


def test_every_breach_is_named_in_one_run(generate):
    bare = "\n".join(line for line in THING.split("\n") if not line.strip().startswith("//"))
    ran, _ = generate(bare.replace(' scope: "things.write"', "").replace("/v1/things", "/things/{nothing}"))
    assert ran.returncode == 1
    assert len(re.findall("needs a comment", ran.stderr)) == len(WHAT)
    for breach in ("must begin with /v1/", "'nothing' is no field of Thing", "needs a scope"):
        assert re.search(rf"^corbel/thing.proto:\d+: Things.Create: .*{re.escape(breach)}", ran.stderr, re.M), ran.stderr


def flags_of_every_command():
    table = re.search(r"COMMON\[\] = \{(.*?)\n\};", (SOURCE / "clients/cli/completion.c").read_text(), re.S).group(1)
    return [name.replace("-", "_") for name in re.findall(r'\{"([a-z-]+)"', table)]


@pytest.mark.parametrize("name", flags_of_every_command())
def test_a_field_has_no_name_of_a_flag_of_every_command_but_url(generate, name):
    with_cli = THING.replace('scope: "things.write"', 'scope: "things.write" cli: "things create"')
    field = f"  // Its colour.\n  optional string {name} = 3;\n}}\n// Things."
    ran, _ = generate(with_cli.replace("}\n// Things.", field))
    if name == "url":
        assert ran.returncode == 0, ran.stderr
    else:
        assert ran.returncode == 1
        assert f"Things.Create: its field {name} has the name of a flag of every command" in ran.stderr


def test_values_of_enums_are_unique_over_all_files_and_the_second_one_is_named(tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.proto").write_text(
            f'syntax = "proto2";\npackage corbel.v1;\nenum {name.title()} {{ {name.upper()}_UNSET = 0; BLUE = 1; }}\n')
    ran = subprocess.run(["protoc", "--descriptor_set_out=set", "first.proto", "second.proto"], capture_output=True,
                         text=True, cwd=tmp_path)
    assert ran.returncode != 0 and 'second.proto:3:' in ran.stderr
    assert '"corbel.v1.BLUE" is already defined in file "first.proto"' in ran.stderr


def test_words_of_the_command_line_go_to_a_text_or_a_list(generate):
    ran, _ = generate(THING.replace('scope: "things.write"', 'scope: "things.write" cli: "things create" cli_words: "nothing"'))
    assert ran.returncode == 1 and "Things.Create: cli_words names no text and no list of plain values" in ran.stderr


@pytest.mark.parametrize("column", ["nothing", "id.nothing"])
def test_a_column_leads_to_a_field_of_the_reply(generate, column):
    assert generate(THING.replace('scope: "things.write"', 'scope: "things.write" columns: "id"'))[0].returncode == 0
    ran, _ = generate(THING.replace('scope: "things.write"', f'scope: "things.write" columns: "id,{column}"'))
    assert ran.returncode == 1 and f"Things.Create: column '{column}' names no field of Thing" in ran.stderr


def test_comments_reach_the_document_and_the_reference(generate):
    _, out = generate(THING)
    for text in (out / "openapi.json").read_text(), (out / "docs/api/thingd.md").read_text():
        for words in ("As the sky.", "A thing.", "Its id.", "Its colour.", "Makes a thing."):
            assert words in text
    assert "Not given." not in (out / "docs/api/thingd.md").read_text()


FIELDS = [("required string id = 1;", "must be optional"),
          ("map<int32, string> id = 1;", "must have strings for keys"),
          ("optional string id = 1 [(corbel.field) = {format: TIMESTAMP}];", "must be an int64"),
          ("optional int64 id = 1 [(corbel.field) = {format: JSON}];", "must be a string or bytes"),
          ("optional int64 id = 1 [(corbel.field) = {format: EMAIL}];", "must be a string to have a format"),
          ("optional string id = 1 [(corbel.field) = {nulls: true}];", "must be a repeated string"),
          ("optional string id = 1 [(corbel.field) = {required: true}];", "is required and needs an example")]


@pytest.mark.parametrize("field,why", FIELDS, ids=[why for _, why in FIELDS])
def test_what_cannot_be_read_or_shown_is_refused(generate, field, why):
    was = '  optional string id = 1 [(corbel.field) = {example: "\\"t\\""}];'
    assert was in THING
    ran, _ = generate(THING.replace(was, "  " + field))
    line = THING.split("\n").index(was) + 1
    assert ran.returncode == 1 and f"corbel/thing.proto:{line}: field Thing.id {why}" in ran.stderr
