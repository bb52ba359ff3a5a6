"""Programs of two versions work beside each other, since a version keeps what the released one promised: proto/released.txt."""
import re

import pytest
from contract import RELEASED, SOURCE, breaches, facts

WAS = """\
syntax = "proto2";
package corbel.v1;
import "corbel/options.proto";
enum Colour { COLOUR_UNSET = 0; BLUE = 1; }
message Thing {
  optional string id = 1 [(corbel.field) = {required: true}];
  optional uint32 size = 2 [default = 7];
  repeated Colour colours = 3;
  map<string, string> labels = 4;
  optional Thing inner = 5;
}
service Things {
  rpc Create(Thing) returns (Thing) { option (corbel.method) = {verb: POST path: "/v1/things" scope: "things.write"}; }
}
"""

KEEPS = {"a field is added": ("optional Thing inner = 5;", "optional Thing inner = 5; optional string added = 6;"),
         "a value is added": ("BLUE = 1;", "BLUE = 1; RED = 2;"),
         "a message is added": ("service Things", "message Other { optional string id = 1 [(corbel.field) = {required: true}]; }\nservice Things"),
         "a method is added": ("service Things {", "service Things {\n  rpc Get(Thing) returns (Thing);"),
         "a field need no longer be sent": ("{required: true}", "{required: false}"),
         "a bound is added": ("{required: true}", "{required: true, max_len: 9}")}

BREAKS = {"a field has another number": ("size = 2", "size = 9"),
          "a field has another type": ("uint32 size = 2 [default = 7]", "string size = 2 [default = \"7\"]"),
          "a field has another name": ("size = 2", "length = 2"),
          "a field is repeated now": ("optional Thing inner", "repeated Thing inner"),
          "a field has another default": ("default = 7", "default = 8"),
          "a field is gone": ("  optional Thing inner = 5;\n", ""),
          "a field has another message": ("optional Thing inner", "optional Colour inner"),
          "a map has other values": ("map<string, string>", "map<string, int32>"),
          "a value has another number": ("BLUE = 1", "BLUE = 2"),
          "a value is gone": (" BLUE = 1;", ""),
          "a field must be sent": ("[default = 7]", "[(corbel.field) = {required: true}]"),
          "a new field must be sent": ("inner = 5;", "inner = 5; optional string new = 6 [(corbel.field) = {required: true}];"),
          "a method has another request": ("Create(Thing)", "Create(Other)"),
          "a method has another name": ("rpc Create", "rpc Make"),
          "a method has another path": ("/v1/things", "/v1/objects"),
          "a method takes another scope": ("things.write", "things.make"),
          "a message is gone": ("Thing", "Object")}


@pytest.fixture
def listed(tmp_path):
    def run(text):
        (tmp_path / "corbel").mkdir(exist_ok=True)
        (tmp_path / "corbel/thing.proto").write_text(text + ("message Other {}\n" if "(Other)" in text else ""))
        return facts(tmp_path)
    return run


@pytest.mark.parametrize("what", KEEPS)
def test_what_adds_keeps_the_promises(listed, what):
    assert KEEPS[what][0] in WAS
    assert breaches(listed(WAS), listed(WAS.replace(*KEEPS[what], 1))) == []


@pytest.mark.parametrize("what", BREAKS)
def test_what_takes_away_breaks_one(listed, what):
    assert BREAKS[what][0] in WAS
    assert breaches(listed(WAS), listed(WAS.replace(*BREAKS[what]))) != []


def test_the_contract_keeps_what_the_released_version_promised():
    released = RELEASED.read_text().splitlines()
    assert len(released) > 500
    assert breaches(released, facts()) == [], "docs/operations.md, Versions beside each other, says what may change"


def migrations():
    return sorted(SOURCE.glob("services/*/schema/*.sql"))


TAKES_AWAY = re.compile(r"\b(DROP\s+(TABLE|COLUMN)|RENAME|SET\s+NOT\s+NULL|ALTER\s+COLUMN|ADD\s+(COLUMN\s+)?\w+[^;]*NOT\s+NULL(?![^;,]*DEFAULT))", re.I)


@pytest.mark.parametrize("path", migrations(), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_migration_that_takes_something_away_says_who_cannot_go_on(path):
    text = path.read_text()
    statements = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    says = re.findall(r"^-- oldest: (\d+)$", text, re.M)
    assert len(says) <= 1 and all(1 < int(said) <= int(path.name[:3]) for said in says)
    assert bool(says) or not TAKES_AWAY.search(statements), "it needs a line such as '-- oldest: 5': docs/operations.md"
