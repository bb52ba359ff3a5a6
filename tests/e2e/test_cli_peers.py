"""The command line against limits, failures and hostile peers."""
import json
import os
import pathlib
import re
import subprocess
import unicodedata

import pytest
from peer import Peer, answer
from stack import BIN

SOURCE = pathlib.Path(__file__).parents[2]


def run(url, *words, key="cb_live_x", code=0):
    ran = subprocess.run([str(BIN / "corbel"), *map(str, words)], capture_output=True, timeout=60,
                         env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": url, "CORBEL_API_KEY": key})
    ran.stdout, ran.stderr = ran.stdout.decode(), ran.stderr.decode()
    assert code in (None, ran.returncode), f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran


@pytest.fixture
def peer():
    made = []

    def make(*answers):
        made.append(Peer(*answers))
        return made[-1]
    yield make
    for one in made:
        one.stop()


# ---- trying again

def test_a_limited_call_is_made_again_when_the_limit_has_room(serve):
    operator = serve.operator
    assert operator.post("/v1/plans", {"name": "slow", "limits": [
        {"resource": "api.write", "limit": 1, "window_ms": 2000}]}).status_code == 201
    tenant = serve.tenant(plan="slow", scopes=["*"])
    words = ["users", "create", "--output", "json", "--email"]
    made = [run(serve.url, *words, f"u{i}@example.com", "--retry", 3, key=tenant.key) for i in range(3)]
    assert any("429; trying again in" in ran.stderr for ran in made)
    assert len(tenant.get("/v1/users").json()["users"]) == 3


def test_all_tries_of_a_post_carry_one_idempotency_key(peer):
    there = peer(b"", answer(503, "{}", "Retry-After: 1"), answer(201, '{"id":"usr_1"}'))
    run(there.url, "users", "create", "--email", "a@example.com", "--retry", 2)
    keys = there.header("Idempotency-Key")
    assert len(keys) == 3 and len(set(keys)) == 1 and len(keys[0]) == 32
    run(there.url, "users", "create", "--email", "a@example.com")
    assert there.header("Idempotency-Key")[3] != keys[0]


def test_what_waiting_cannot_help_is_not_tried_again(peer):
    for problem in (answer(429, "{}"), answer(400, "{}"), answer(429, "{}", "Retry-After: 86400"), answer(500, "{}")):
        there = peer(problem)
        run(there.url, "plans", "list", "--retry", 3, code=None)
        assert len(there.requests) == 1


def test_tries_end_when_they_are_used_up(peer):
    there = peer(answer(503, "{}"))
    assert run(there.url, "plans", "list", "--retry", 2, code=8).stderr.count("trying again") == 2
    assert len(there.requests) == 3
    run(there.url, "plans", "list", code=8)
    assert len(there.requests) == 4
    run(there.url, "plans", "list", "--retry", "many", code=2)


def test_a_given_idempotency_key_makes_one_thing_of_two_calls(serve):
    words = ["users", "create", "--output", "json", "--idempotency-key", "order-1042", "--email"]
    first, again = (json.loads(run(serve.url, *words, "once@example.com", key=serve.admin_key).stdout) for _ in "ab")
    assert first["id"] == again["id"]
    assert "Idempotency-Key" in run(serve.url, *words, "other@example.com", key=serve.admin_key, code=5).stderr
    assert "by POST" in run(serve.url, "plans", "list", "--idempotency-key", "k", code=2).stderr
    assert "visible" in run(serve.url, "users", "create", "--idempotency-key", "a\nb", code=2).stderr


# ---- terminals

HOSTILE = "x\x1b[2Jy\x07\x7f\u009b31m\u202ez\nw"


def is_calm(text):
    """No control character but the ends of our own lines, and nothing that turns the direction of writing."""
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf") for c in text)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_no_text_of_a_peer_commands_the_terminal(peer, status, output):
    body = json.dumps({"title": HOSTILE, "detail": HOSTILE, "request_id": HOSTILE, HOSTILE: {HOSTILE: HOSTILE},
                       "errors": [] if status == 200 else [{"pointer": HOSTILE, "detail": HOSTILE}],
                       "plans": [{"name": HOSTILE, HOSTILE: HOSTILE}]}, ensure_ascii=False)
    there = peer(answer(status, body.encode(), b"X-Odd: a\x1b]0;b\x9bc\xc2\x9bd"))
    ran = run(there.url, "plans", "list", "--output", output, "--verbose", code=None)
    assert is_calm(ran.stdout) and is_calm(ran.stderr)
    assert "X-Odd: a ]0;b" in ran.stderr


def test_escaped_texts_read_back_as_they_were(peer):
    there = peer(answer(200, json.dumps({"plans": [{"name": HOSTILE, "metadata": {HOSTILE: "v"}}]})))
    back = json.loads(run(there.url, "plans", "list", "--output", "json").stdout)
    assert back["plans"][0] == {"name": HOSTILE, "metadata": {HOSTILE: "v"}}
    # A YAML text in double quotes is written as JSON writes it.
    shown = run(there.url, "plans", "list", "--output", "yaml").stdout
    assert [json.loads(t) for t in re.findall(r'"(?:[^"\\]|\\.)*"', shown)] == [HOSTILE, HOSTILE, "v"]


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def test_columns_line_up_whatever_the_texts_are(serve):
    tenant = serve.tenant(scopes=["*"])
    for i, name in enumerate(["plain", "中文名字", "e\u0301te\u0301", "größe", "😀"]):
        assert tenant.post("/v1/users", {"email": f"u{i}@example.com", "name": name}).status_code == 201
    head, *lines = run(serve.url, "users", "list", key=tenant.key).stdout.splitlines()
    assert len(lines) == 5
    for line in lines:
        before = line[:line.index("MEMBER")]
        assert columns(before) == head.index("role"), line


# ---- exit codes

def test_each_status_has_the_exit_code_that_the_manual_says(peer):
    manual = (SOURCE / "docs/cli.md").read_text()
    for status, code in ((200, 0), (302, 1), (400, 6), (401, 3), (403, 3), (404, 4), (405, 6), (409, 5), (413, 6), (415, 6),
                         (422, 5), (429, 7), (500, 8), (501, 8), (503, 8), (504, 8)):
        run(peer(answer(status, "{}")).url, "plans", "list", code=code)
        assert re.search(rf"^\| {code} \|", manual, re.M)
        family = {200: "2xx", 302: "3xx"}.get(status, "5xx" if status >= 500 else str(status))
        row = next(line for line in manual.splitlines() if line.startswith(f"| {code} |"))
        assert family in row or (code == 6 and "other 4xx" in row)
    run(peer(b"").url, "plans", "list", code=8)
    run(peer(answer(200, "<html>")).url, "plans", "list", code=1)
