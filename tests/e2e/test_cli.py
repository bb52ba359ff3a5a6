"""The command line, against a running Corbel."""
import csv
import io
import json
import os
import re
import subprocess

import pytest
from stack import BIN


@pytest.fixture
def corbel(stack):
    def run(*words, key=None, code=0, stdin=None, env=None):
        ran = subprocess.run([str(BIN / "corbel"), *map(str, words)], capture_output=True, text=True, timeout=60,
                             input=stdin, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url,
                                               "CORBEL_API_KEY": key or stack.admin_key, **(env or {})})
        assert code in (None, ran.returncode), f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran
    return run


def as_json(ran):
    return json.loads(ran.stdout)


def test_the_way_of_a_newcomer(corbel):
    tenant = as_json(corbel("tenants", "create", "--name", "Acme", "--metadata", "team=a", "--output", "json"))
    assert tenant["metadata"] == {"team": "a"} and tenant["plan"] == "free"
    made = as_json(corbel("keys", "create", "--tenant-id", tenant["id"], "--scopes", "*", "--output=json"))
    key = made["secret"]
    limit = as_json(corbel("limits", "create", "--name", "charts", "--strategy", "FIXED_WINDOW", "--limit", 1,
                           "--window-ms", 60000, "--output", "json", key=key))
    checks = ["ratelimits", "check", "--checks", '[{"limit":"charts","key":"u"}]', "--output", "json"]
    assert as_json(corbel(*checks, key=key))["allowed"]
    assert not as_json(corbel(*checks, key=key))["allowed"]
    assert as_json(corbel("limits", "get", limit["id"], "--output", "json", key=key))["name"] == "charts"
    changed = corbel("limits", "update", limit["id"], "--limit=5", "--output", "json", key=key)
    assert as_json(changed)["limit"] == 5


def test_every_format_shows_the_same(corbel):
    rows = as_json(corbel("plans", "list", "--output", "json"))["plans"]
    table = corbel("plans", "list").stdout.splitlines()
    assert table[0].split() == ["name", "title", "updated_at"] and len(table) == len(rows) + 1
    cells = list(csv.reader(io.StringIO(corbel("plans", "list", "--output", "csv").stdout)))
    assert [c[0] for c in cells[1:]] == [r["name"] for r in rows]
    assert 'name: "free"' in corbel("plans", "list", "--output", "yaml").stdout


def test_pages_are_followed(corbel, stack):
    tenant = stack.tenant(scopes=["*"])
    for i in range(5):
        corbel("users", "create", "--email", f"p{i}@example.com", key=tenant.key)
    page = corbel("users", "list", "--page-size", 2, "--output", "json", key=tenant.key)
    assert len(as_json(page)["users"]) == 2 and "--all" not in page.stdout
    everything = corbel("users", "list", "--page-size", 2, "--all", "--output", "json", key=tenant.key)
    assert len(as_json(everything)["users"]) == 5


def test_errors_name_the_field_and_have_their_exit_code(corbel):
    wrong = corbel("limits", "create", "--name", "No!", "--strategy", "NONSENSE", code=6)
    assert "/strategy" in wrong.stderr
    assert "no such key" in corbel("keys", "get", "key_" + "0" * 32, code=4).stderr
    corbel("plans", "list", key="cb_live_wrong", code=3)
    corbel("plans", "delete", "free", "--yes", env={"CORBEL_URL": "http://127.0.0.1:1"}, code=8)
    assert "there is no such flag" in corbel("plans", "list", "--surplus", 1, code=2).stderr
    assert "there is no command" in corbel("plans", "explode", code=2).stderr


def test_a_file_is_taken_whole_or_not_at_all(corbel, tmp_path):
    for name, content, why in (("binary", b"a\0b", "is no text in UTF-8"), ("latin", b"caf\xe9", "is no text in UTF-8"),
                               ("large", b"x" * ((16 << 20) + 1), "is larger than 16384 KiB")):
        (tmp_path / name).write_bytes(content)
        told = corbel("cache", "set", "files", name, "--value", f"@{tmp_path / name}", code=2)
        assert f"{name}: {why}" in told.stderr
        corbel("cache", "get", "files", name, code=4)
    assert "Is a directory" in corbel("cache", "set", "files", "k", "--value", f"@{tmp_path}", code=2).stderr
    assert "UTF-8" in corbel("cache", "set", "files", "k", "--value", b"caf\xe9".decode(errors="surrogateescape"), code=2).stderr


def test_what_cannot_be_undone_is_asked(corbel):
    user = as_json(corbel("users", "create", "--email", "gone@example.com", "--output", "json"))
    assert "--yes" in corbel("users", "delete", user["id"], code=1, stdin="").stderr
    corbel("users", "delete", user["id"], "--yes")
    corbel("users", "get", user["id"], code=4)


def test_on_a_terminal_revoking_asks_and_takes_the_answer(corbel, stack):
    env = {"PATH": os.environ["PATH"], "CORBEL_URL": stack.url, "CORBEL_API_KEY": stack.admin_key}
    key = as_json(corbel("keys", "create", "--name", "gone", "--output", "json"))["key"]["id"]
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        ours, theirs = os.openpty()
        os.write(ours, answer)
        ran = subprocess.run([BIN / "corbel", "keys", "revoke", key], stdin=theirs, capture_output=True, text=True,
                             timeout=60, env=env)
        os.close(ours)
        os.close(theirs)
        assert "[y/N]" in ran.stderr and ran.returncode == code, ran.stderr
        assert ("revoked_at" in as_json(corbel("keys", "get", key, "--output", "json"))) == (code == 0)


def test_a_table_does_not_command_the_terminal(corbel):
    made = corbel("users", "create", "--data", json.dumps({"email": "esc@example.com", "name": "a\x1b[2Jb"}))
    assert "a [2Jb" in made.stdout and "\x1b" not in made.stdout + made.stderr


def test_odd_ids_stay_ids(corbel):
    assert "id is needed" in corbel("keys", "get", "", code=2).stderr
    assert "/v1/keys/.." in corbel("keys", "get", "..", "--verbose", code=None).stderr


def test_null_clears_and_data_gives_the_whole(corbel):
    user = as_json(corbel("users", "create", "--data", '{"email":"d@example.com","name":"D"}', "--output", "json"))
    assert "name" not in as_json(corbel("users", "update", user["id"], "--name", "null", "--output", "json"))
    other = corbel("users", "create", "--data", "-", "--output", "json", stdin='{"email":"e@example.com"}')
    assert as_json(other)["email"] == "e@example.com"


def test_a_profile_says_where_and_who(corbel, stack, tmp_path):
    home = tmp_path / ".config/corbel"
    home.mkdir(parents=True)
    (home / "config.yaml").write_text(f"profiles:\n  here:\n    url: {stack.url}\n    api_key: {stack.admin_key}\n"
                                      "    output: json\n")
    env = {"HOME": str(tmp_path), "CORBEL_URL": "", "CORBEL_API_KEY": ""}
    assert as_json(corbel("plans", "list", "--profile", "here", env=env))["plans"]
    assert corbel("plans", "list", "--profile", "here", "--output", "table", env=env).stdout.startswith("name ")
    assert "no profile" in corbel("plans", "list", "--profile", "there", env=env, code=2).stderr


def test_every_command_explains_itself(corbel):
    overview = corbel("--help").stdout.partition("Resources")[2].partition("\ncorbel ")[0]
    resources = re.findall(r"^  corbel (\S+) ", overview, re.M)
    assert len(resources) >= 15 and max(map(len, overview.splitlines())) <= 120
    for resource in resources:
        commands = re.findall(rf"^  corbel {resource} (\S+) +(\S.+)$", corbel(resource, "--help").stdout, re.M)
        named = re.search(rf"^  corbel {resource} +((?:.+,\n +)*.+)$", overview, re.M).group(1)
        assert {action for action, _ in commands} == set(re.split(r",\s+", named))
        for action, what in commands:
            assert "Exit codes" in corbel(resource, action, "--help").stdout and not what.endswith((" if", " and", "."))


def test_a_member_can_be_said_alone_and_begins_an_item_when_it_comes_again(corbel, stack):
    key = stack.tenant(scopes=["*"]).key
    corbel("limits", "create", "--name", "cake", "--limit", 2, "--window-ms", 86400000, "--strategy", "FIXED_WINDOW",
           key=key)
    check = ["ratelimits", "check", "--checks.limit", "cake", "--checks.key=u", "--checks.cost", 2, "--checks.limit=cake",
             "--checks.key", "v"]
    limits = as_json(corbel(*check, "--output", "json", key=key))["limits"]
    assert [(limit["key"], limit["remaining"]) for limit in limits] == [("u", 0), ("v", 1)]
    shown = corbel(*check, key=key).stdout
    assert re.search(r"^cake +u +false", shown, re.M) and re.search(r"^allowed +false$", shown, re.M) and "[{" not in shown
    made = as_json(corbel("caches", "create", "--namespace.name", "web", "--namespace.ttl-ms", 60000, "--output", "json", key=key))
    assert (made["name"], made["ttl_ms"]) == ("web", 60000)
    assert "no such flag" in corbel("caches", "create", "--namespace.nam", "web", key=key, code=2).stderr
    assert "no such flag" in corbel("tenants", "create", "--metadata.a", "b", code=2).stderr


def test_members_of_members_stand_further_in(corbel, stack):
    shown = corbel("limits", "create", "--name", "deep", "--limit", "5", "--window-ms", "60000", "--strategy", "ADAPTIVE",
                   "--adaptive", '{"floor": 1, "ceiling": 9}', key=stack.tenant(scopes=["*"]).key).stdout
    assert re.search(r"^adaptive\n(  \S.+\n)*  floor +1$", shown, re.M) and re.search(r"^name +deep$", shown, re.M)


def test_help_tells_what_values_there_are(corbel):
    shown = corbel("limits", "create", "--help").stdout
    assert re.search(r"^  --window-ms NUMBER 1 to 31622400000 ms \(needed\)\n +Length of the window", shown, re.M)
    assert re.search(r"^ +GCRA +Generic cell rate algorithm", shown, re.M) and "STRATEGY_UNSET" not in shown
    assert re.search(r"^ +\.limit +\(needed\) Name of the limit", corbel("ratelimits", "check", "--help").stdout, re.M)


@pytest.mark.parametrize("words,flag,kind", [
    (("plugins", "run"), "context", "JSON"), (("plugins", "run"), "version", "NUMBER"),
    (("plugins", "create"), "input-schema", "JSON"), (("cache", "set"), "value", "TEXT"),
    (("cache", "set-many"), "entries", "JSON"),
])
def test_help_tells_of_what_kind_a_value_is(corbel, words, flag, kind):
    shown = corbel(*words, "--help").stdout
    assert re.search(rf"^  --{flag} {kind}\b", shown, re.M), shown


def test_verbose_shows_the_exchange_but_not_the_key(corbel, stack):
    shown = corbel("plans", "list", "--verbose").stderr
    assert "> GET" in shown and "x-request-id" in shown.lower() and re.search(r" ms, trace [0-9a-f]{32}$", shown, re.M)
    assert stack.admin_key not in shown


def test_the_openapi_document_is_whole(corbel):
    assert json.loads(corbel("openapi").stdout)["openapi"] == "3.1.0"
