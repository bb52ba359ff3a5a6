"""Receivers check our signatures with the published library of Standard Webhooks, unchanged.

Needs node and the npm package `standardwebhooks`, found as node finds it (NODE_PATH, or `npm install -g`).
"""
import json
import os
import shutil
import subprocess

import pytest
from sink import Sink

# One case a line: a receiver's key, the request, and how many seconds later than it was sent it is checked.
# "whsec_" is checked by the library; "whpk_" by node's own Ed25519, as the library has no v1a.
CHECK_JS = """
const { Webhook } = require("standardwebhooks");
const { createPublicKey, verify } = require("crypto");
const now = Date.now;

function checkEd25519(key, headers, body) {
  const x = Buffer.from(key.slice("whpk_".length), "base64").toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const tokens = headers["webhook-signature"].split(" ").filter((t) => t.startsWith("v1a,"));
  return tokens.some((t) => verify(null, signed, publicKey, Buffer.from(t.slice(4), "base64")));
}

function check({ key, headers, body, later_s }) {
  Date.now = () => now() + later_s * 1000;
  if (key.startsWith("whpk_")) return checkEd25519(key, headers, body);
  try {
    new Webhook(key).verify(body, headers);
    return true;
  } catch (error) {
    if (error.name === "WebhookVerificationError" || error.constructor.name === "WebhookVerificationError") return false;
    throw error;
  }
}

const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(check)));
"""


def node_environment():
    """Where node finds the package; None when it does not."""
    if not shutil.which("node"):
        return None
    paths = [os.environ.get("NODE_PATH", "")]
    if shutil.which("npm"):
        found = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, timeout=60)
        paths.append(found.stdout.strip())
    environment = dict(os.environ, NODE_PATH=os.pathsep.join(p for p in paths if p))
    there = subprocess.run(["node", "-e", "require('standardwebhooks')"], env=environment, capture_output=True,
                           timeout=60)
    return environment if there.returncode == 0 else None


@pytest.fixture(scope="module")
def environment():
    found = node_environment()
    if found is None:
        pytest.skip("needs node and the npm package standardwebhooks (npm install -g standardwebhooks)")
    return found


def verdicts(environment, cases):
    """Whether a receiver accepts each (key, headers, body, later_s)."""
    text = json.dumps([dict(zip(("key", "headers", "body", "later_s"), case)) for case in cases])
    done = subprocess.run(["node", "-e", CHECK_JS], input=text, env=environment, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def request_of(hook):
    headers = {name: hook.headers[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    return headers, hook.body.decode()


def endpoint(client, sink):
    made = client.post("/v1/webhooks", {"url": sink.url, "signing": "HMAC_AND_ED25519"})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"], made.json()["secret"]


def deliver(client, sink, count):
    data = {"name": "r\u00e9sum\u00e9.pdf", "size": 9007199254740993}
    made = client.post("/v1/events", {"events": [{"type": "file.uploaded", "data": data}]})
    assert made.status_code == 200, made.text
    return sink.wait(lambda hooks: len(hooks) == count, "the delivery")[-1]


def test_the_published_library_accepts_what_is_ours_and_nothing_else(stack, environment):
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    with Sink() as sink:
        made, secret = endpoint(client, sink)
        headers, body = request_of(deliver(client, sink, 1))
        public = made["public_key"]
        tampered = body.replace("file.uploaded", "file.uploadee")
        later = dict(headers, **{"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)})
        other = dict(headers, **{"webhook-id": headers["webhook-id"] + "x"})
        assert tampered != body
        good = [(key, headers, body, at) for key in (secret, public) for at in (0,)]
        bad = [(key, *case, 0) for key in (secret, public)
               for case in ((headers, tampered), (later, body), (other, body))]
        assert verdicts(environment, good) == [True, True]
        assert verdicts(environment, bad) == [False] * 6
        assert verdicts(environment, [(secret, headers, body, 200), (secret, headers, body, 400)]) == [True, False]


def test_during_a_rotation_receivers_with_either_secret_accept(stack, environment):
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    with Sink() as sink:
        made, old = endpoint(client, sink)
        rotated = client.post(f"/v1/webhooks/{made['id']}/rotate-secret", {"grace_ms": 600000})
        assert rotated.status_code == 200, rotated.text
        new, new_public = rotated.json()["secret"], client.get(f"/v1/webhooks/{made['id']}").json()["public_key"]
        headers, body = request_of(deliver(client, sink, 1))
        keys = [old, new, made["public_key"], new_public]
        assert old != new and made["public_key"] != new_public
        assert verdicts(environment, [(key, headers, body, 0) for key in keys]) == [True] * 4
        assert len(headers["webhook-signature"].split(" ")) == 4
