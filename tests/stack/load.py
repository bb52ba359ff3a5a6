"""The traffic of the end-to-end tests, with events, cache entries and runs of plugins beside it, so that every daemon has
something to do."""
import json
import time

from sink import Sink
from stack import until
from traffic import CACHE, EVENT, RUN, Traffic

BETWEEN_RUNS_S = 0.2  # each takes processor time that the others have then


class Load(Traffic):
    """with Load(compose) as load: …; load.lost() is what was acknowledged and is not there; it waits for deliveries."""

    def __init__(self, compose):
        super().__init__(compose)
        self.published = set()  # ids of events that were acknowledged
        self.broken = []  # runs that ended otherwise than their program
        self.sink = Sink(address=compose.gateway())
        made = self.tenant.post("/v1/webhooks", {"url": self.sink.url + "/hook", "filter": {"types": ["load.*"]}})
        assert made.status_code == 201, made.text

    def made_calls(self):
        return {**super().made_calls(), EVENT: self._publish, CACHE: self._fill_cache, RUN: self._run_plugin}

    def _publish(self, me, _, count):
        answer = self._call(me, EVENT, "POST", "/v1/events", {"events": [{"type": "load.made", "data": {"count": count}}]})
        if answer.is_good:
            self.published.add(json.loads(answer.text)["events"][0]["id"])

    def _fill_cache(self, me, _, count):
        self._call(me, CACHE, "POST", "/v1/caches/load/set-many", {"entries": [{"key": f"k{count % 50}", "text": "v"}]})

    def _run_plugin(self, me, _, count):
        answer = self._call(me, RUN, "POST", "/v1/plugins/run", {"code": f"result = {count}"})
        if answer.is_good and json.loads(answer.text).get("result") != count:
            self.broken.append(answer.text)
        time.sleep(BETWEEN_RUNS_S)

    def until_good(self, timeout_s=60):
        """Longer than beside daemons alone: containers are started and stopped meanwhile."""
        return super().until_good(timeout_s)

    def __enter__(self):
        self.sink.__enter__()
        return super().__enter__()

    def lost(self):
        until(lambda: self.published <= {hook.id for hook in self.sink.hooks}, "every event that was acknowledged is delivered")
        self.sink.__exit__()
        return super().lost()
