"""`corbel events tail` and `corbel webhooks listen`: commands that outlive the server they follow."""
import json
import os
import re
import signal
import subprocess

import pytest
import requests
from sink import Sink
from stack import BIN, Process, Serve, until
from test_streams import publish, tenant

WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def corbel(tmp_path):
    """Starts a command that runs on; each ends with the test."""
    started = []

    def start(stack, key, *words):
        made = Process(f"corbel{len(started)}", [BIN / "corbel", *words], tmp_path,
                       {"HOME": "/nonexistent", "CORBEL_URL": stack.url, "CORBEL_API_KEY": key})
        started.append(made)
        return made

    yield start
    for each in started:
        if each.is_alive():
            each.stop()


def lines(process):
    return process.output().splitlines()


def until_following(stack, count=1):
    until(lambda: f"corbel_streams_open {count}" in
          requests.get(f"http://127.0.0.1:{stack.admin_port}/metrics", timeout=20).text, "the command follows")


def test_tail_shows_events_as_they_happen_a_line_each(corbel, own):
    stack = own(Serve)
    client = tenant(stack)
    publish(client)
    plain, chosen = corbel(stack, client.key, "events", "tail"), corbel(
        stack, client.key, "events", "tail", "--type", "person.*", "--type=doc.sent", "--after", "0", "--output", "json")
    until_following(stack, 2)
    publish(client, 1, "person.made", subject="p1\u001b[31m")
    publish(client, 1, "doc.sent")
    until(lambda: len(lines(plain)) == 2 and len(lines(chosen)) == 2, "both are shown")
    assert re.fullmatch(r'3  \S+Z  person\.made  p1 \[31m  \{"i":0\}', lines(plain)[0]), lines(plain)
    assert [json.loads(line) for line in lines(chosen)] == client.get("/v1/events?after=2").json()["events"]


def test_tail_loses_and_repeats_nothing_though_the_server_is_killed(corbel, own):
    stack = own(Serve)
    client = tenant(stack)
    tail = corbel(stack, client.key, "events", "tail", "--output=json")
    until_following(stack)
    for _ in range(4):
        publish(client, 700)
        stack.restart(signal.SIGKILL)
    publish(client, 100)
    until(lambda: len(lines(tail)) >= 2900, "all events are shown")
    assert [json.loads(line)["sequence"] for line in lines(tail)] == list(range(2, 2902))


@pytest.mark.parametrize("words,code,says", [
    (["events", "tail", "--nothing", "1"], 2, "no such flag"), (["events", "tail", "--after", "x"], 2, "--after"),
    (["events", "tail", "--output", "csv"], 2, "table or json"), (["events", "tail", "--type", "a..b"], 6, "types"),
    (["events", "tail", "--after", "99"], 6, "99"), (["events", "tail", "--url", "http://127.0.0.1:1"], 8, "127.0.0.1:1"),
    (["webhooks", "listen"], 2, "--forward"), (["webhooks", "listen", "--forward", "http://x", "--secret", "x"], 2, "--secret")])
def test_what_cannot_work_ends_the_command_at_once(serve, words, code, says):
    client = tenant(serve)
    ran = subprocess.run([str(BIN / "corbel"), *words], capture_output=True, text=True, timeout=60, env={
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": serve.url, "CORBEL_API_KEY": client.key})
    assert ran.returncode == code and says in ran.stderr, ran.stderr


def test_a_key_that_is_revoked_ends_the_command(corbel, own):
    stack = own(Serve)
    client = tenant(stack)
    tail = corbel(stack, client.key, "events", "tail")
    until_following(stack)
    assert stack.operator.post(f"/v1/keys/{client.key_id}/revoke").status_code == 200
    until(lambda: not tail.is_alive(), "the command has ended")
    assert tail.popen.returncode == 3 and "no longer good" in tail.output()


def test_listen_sends_on_what_webhooks_would_carry_signed_and_again_until_it_is_taken(corbel, own):
    stack = own(Serve)
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    refusals = [500, 503]
    with Sink() as hook, Sink(lambda _: refusals.pop() if refusals else 200) as laptop:
        made = client.post("/v1/webhooks", {"url": hook.url, "filter": {"types": ["doc.*"]}})
        assert made.status_code == 201, made.text
        listen = corbel(stack, client.key, "webhooks", "listen", "--forward", laptop.url + "/mine", "--type", "doc.*",
                        "--secret", WHSEC)
        until_following(stack)
        publish(client, 2, subject="d1")
        stack.restart(signal.SIGKILL)
        publish(client, 2)
        laptop.wait(lambda hooks: len(hooks) == 6, "four events in six tries", 60)
        hook.wait(lambda hooks: len({h.id for h in hooks}) == 4, "the webhook has them, too", 60)
        until(lambda: len(lines(listen)) == 7, "a line for each try")
    assert lines(listen)[0] == f"secret: {WHSEC}"
    assert [re.search(r"doc\.made  (\d+)", line).group(1) for line in lines(listen)[1:]] == ["503", "500"] + ["200"] * 4
    assert all(h.is_signed_with(WHSEC) for h in laptop.hooks) and laptop.hooks[0].path == "/mine"
    assert len({h.id for h in laptop.hooks[:3]}) == 1
    real = {h.id: h.body for h in hook.hooks}
    assert [real[h.id] for h in laptop.hooks[2:]] == [h.body for h in laptop.hooks[2:]]


def test_listen_makes_a_secret_and_goes_on_behind_an_event_that_nobody_takes(corbel, own):
    stack = own(Serve)
    client = tenant(stack)
    with Sink(lambda h: 500 if h.json["type"] == "doc.bad" else 200) as laptop:
        listen = corbel(stack, client.key, "webhooks", "listen", f"--forward={laptop.url}")
        until_following(stack)
        publish(client, 1, "doc.bad")
        publish(client, 1, "doc.good")
        laptop.wait(lambda hooks: len(hooks) == 6, "five tries and one", 60)
    secret = re.match(r"secret: (whsec_\S+)", listen.output()).group(1)
    assert all(h.is_signed_with(secret) for h in laptop.hooks)
    assert "given up" in listen.output() and laptop.hooks[-1].json["type"] == "doc.good"


def test_help_and_completion_know_the_commands():
    def out(*words):
        return subprocess.run([str(BIN / "corbel"), *words], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "replay, tail" in out("--help") and "corbel webhooks listen" in out("webhooks", "--help")
    assert "--after SEQUENCE" in out("events", "tail", "--help")
    assert "events tail|--type" in out("completion", "bash") and "-l forward -x" in out("completion", "fish")
