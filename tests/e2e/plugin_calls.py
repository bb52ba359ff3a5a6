"""Calls about plugins that several tests make, each of which has to succeed."""
import os
import subprocess

from stack import BIN, until

SCOPES = ["plugins.*", "events.*", "webhooks.*"]
DOUBLE = "print('adding', len(context['numbers']))\nresult = sum(context['numbers']) * 2\n"
SLOW = "while True:\n    pass\n"


def tenant(stack, plan="unlimited", scopes=SCOPES):
    return stack.tenant(plan=plan, scopes=scopes)


def create(client, code=DOUBLE, name="doubled", install=True, **more):
    made = client.post("/v1/plugins", {"name": name, "code": code, "install": install, **more})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def run(client, plugin, context=None, **more):
    ran = client.post(f"/v1/plugins/{plugin}/run", {**({} if context is None else {"context": context}), **more})
    assert ran.status_code == 200, ran.text
    return ran.json()


def run_code(client, code, **more):
    ran = client.post("/v1/plugins/run", {"code": code, **more})
    assert ran.status_code == 200, ran.text
    return ran.json()


def queue(client, plugin, context=None):
    made = client.post(f"/v1/plugins/{plugin}/queue", {} if context is None else {"context": context})
    assert made.status_code == 202, made.text
    return made.json()["id"]


def read(client, made):
    return client.get(f"/v1/plugins/runs/{made}").json()


# While a replica is killed an answer may be a problem, which has no state.
def until_ended(client, made):
    return until(lambda: (found := read(client, made)).get("state") == "RUN_ENDED" and found, f"{made} has ended")


def until_state(client, made, state):
    return until(lambda: (found := read(client, made)).get("state") == state and found, f"{made} is {state}")


def kinds(client, pattern):
    return [e["type"] for e in client.get("/v1/events", params={"type": pattern, "after": 0}).json().get("events", [])]


def corbel(stack, client, *words, code=0, stdin=None):
    ran = subprocess.run([str(BIN / "corbel"), *map(str, words)], capture_output=True, text=True, timeout=90, input=stdin,
                         env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url, "CORBEL_API_KEY": client.key})
    assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
