"""Traffic: threads that call without pause, remember each answer and everything that was acknowledged, and
later ask whether it is still there.

Each kind of call has threads of its own: checks of a limit, changes of a plan, new keys (with an Idempotency-Key, repeated
until they are acknowledged or another attempt holds it) and lists. An answer is a status, or 0 when the connection broke.
"""
import collections
import itertools
import json
import threading
import time
import typing
import uuid

import requests
from stack import Stopwatch, until

CHECK, PLAN, KEY, LIST, EVENT, CACHE, RUN = "check", "plan", "key", "list", "event", "cache", "run"
GOOD = {CHECK: 200, PLAN: 200, KEY: 201, LIST: 200, EVENT: 200, CACHE: 200, RUN: 200}


class Answer(typing.NamedTuple):
    kind: str
    start: float  # time.monotonic()
    seconds: float  # of calm time
    status: int
    type: str
    text: str

    @property
    def is_good(self):
        return self.status == GOOD[self.kind]


class Traffic:
    """with Traffic(stack) as traffic: …"""

    def __init__(self, stack, each=1):
        self.stack = stack
        self.tenant = stack.tenant(plan="unlimited", scopes=["*"])
        made = self.tenant.post("/v1/limits", {"name": "hot", "strategy": "TOKEN_BUCKET", "limit": 10**9,
                                               "window_ms": 1000})
        assert made.status_code == 201, made.text
        until(self._is_defined_everywhere, "the limit is known to every replica", 10)
        self.answers = []
        self.keys = {}    # what was acknowledged: the Idempotency-Key, and (body, reply)
        self.plans = {}   # the last number that each plan was acknowledged to have
        self.names = []   # of keys that were asked for, acknowledged or not
        self.calls = self.made_calls()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in self.calls.values() for _ in range(each)]

    def made_calls(self):
        """What is called, by its kind."""
        return {CHECK: self._check, PLAN: self._change_plan, KEY: self._make_key, LIST: self._list}

    def _is_defined_everywhere(self):
        return all(self.tenant.post("/v1/ratelimits/peek", {"checks": [{"limit": "hot", "key": f"k{n}"}]}).status_code
                   == 200 for n in range(40))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.until_good()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, make_call):
        clients = self.stack.client(self.tenant.key), self.stack.operator
        for count in itertools.count():
            if self._stop.is_set():
                return
            make_call(*clients, count)

    def _check(self, me, _, count):
        self._call(me, CHECK, "POST", "/v1/ratelimits/check", {"checks": [{"limit": "hot", "key": f"k{count % 50}"}]})

    def _change_plan(self, _, operator, count):
        name = f"plan-{threading.get_ident()}"
        if name not in self.plans:
            made = operator.post("/v1/plans", {"name": name, "title": "0", "limits": []})
            assert made.status_code in (201, 409), made.text
        if self._call(operator, PLAN, "PATCH", f"/v1/plans/{name}", {"title": str(count)}).is_good:
            self.plans[name] = count

    def _make_key(self, me, *_):
        once, body = uuid.uuid4().hex, {"name": uuid.uuid4().hex}
        self.names.append(body["name"])
        while not self._stop.is_set():
            answer = self._call(me, KEY, "POST", "/v1/keys", body, {"Idempotency-Key": once})
            if answer.is_good:
                self.keys[once] = (body, json.loads(answer.text))
            if answer.is_good or answer.status == 409:  # who began it was killed: it is free after its lease
                return

    def _list(self, me, *_):
        self._call(me, LIST, "GET", "/v1/keys?page_size=1")

    def _call(self, client, kind, verb, path, body=None, headers=None):
        watch = Stopwatch()
        try:
            got = client.request(verb, path, body, headers=headers)
            seen = got.status_code, got.headers.get("Content-Type", ""), got.text
        except requests.RequestException as broken:
            seen = 0, "", str(broken)
        answer = Answer(kind, watch.start, watch.calm_s(), *seen)
        self.answers.append(answer)
        if not answer.is_good:
            time.sleep(0.01)  # a caller that was refused does not spin
        return answer

    def until_good(self, timeout_s=60):
        """Waits until every kind of call that starts from now on has succeeded; returns how much calm time that took."""
        watch, waiting = Stopwatch(), set(self.calls)
        seen = len(self.answers)
        while waiting:
            assert watch.passed_s() < timeout_s, f"no good {waiting}; the last: {self.answers[-8:]}"
            new = self.answers[seen:]
            seen += len(new)
            waiting -= {a.kind for a in new if a.is_good and a.start >= watch.start}
            time.sleep(0.005)
        return watch.calm_s()

    def since(self, start):
        """Answers to what was asked from then on."""
        return [a for a in list(self.answers) if a.start >= start]

    def odd(self, *statuses, within_s=12):
        """Answers that are neither good nor a problem of one of these statuses, or late; 0 is a broken connection."""
        return [a for a in list(self.answers) if a.seconds > within_s or not (
            a.is_good or (a.status in statuses and (a.status == 0 or a.type.startswith("application/problem+json"))))]

    def lost(self):
        """What was acknowledged and is not there, or not as it was acknowledged, or was done twice."""
        me, operator, missing = self.stack.client(self.tenant.key), self.stack.operator, []
        for name, number in self.plans.items():
            plan = operator.get(f"/v1/plans/{name}").json()
            if int(plan.get("title", -1)) < number:  # a later change may have been made and not acknowledged
                missing.append(("plan", number, plan))
        there = collections.Counter(key.get("name") for key in self._pages(me, "/v1/keys", "keys"))
        missing += [("key", body) for body, _ in self.keys.values() if there[body["name"]] == 0]
        missing += [("twice", name) for name in self.names if there[name] > 1]
        for once, (body, reply) in list(self.keys.items())[-20:]:
            again = me.post("/v1/keys", body, headers={"Idempotency-Key": once})
            if again.status_code != 201 or again.json() != reply:
                missing.append(("reply", body, again.text))
            secret = me.post("/v1/keys/verify", {"key": reply["secret"]})
            if secret.status_code != 200 or not secret.json().get("valid"):
                missing.append(("secret", body, secret.text))
        return missing

    @staticmethod
    def _pages(client, path, field):
        token = ""
        while True:
            page = client.get(f"{path}?page_size=100" + (f"&page_token={token}" if token else ""))
            assert page.status_code == 200, page.text
            yield from page.json().get(field, [])
            token = page.json().get("next_page_token")
            if not token:
                return
