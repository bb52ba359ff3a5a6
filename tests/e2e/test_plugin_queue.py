"""Runs of plugins that are queued: kept, bounded, begun again, shared between replicas."""
import concurrent.futures
import datetime
import signal
import sqlite3

from plugin_calls import SLOW, create, kinds, queue, read, run, run_code, tenant, until_ended, until_state
from stack import Processes, Serve, until


def test_queued_runs_are_done_and_kept_with_their_results(stack):
    client = tenant(stack)
    plugin = create(client)
    made = [queue(client, plugin, {"numbers": [n]}) for n in range(10)]
    ended = [until_ended(client, one) for one in made]
    assert [e["result"] for e in ended] == [2 * n for n in range(10)]
    assert {e["attempts"] for e in ended} == {1} and ended[0]["log"] == "adding 1\n"
    page = client.get("/v1/plugins/runs", params={"page_size": 4, "plugin_id": plugin}).json()
    assert [r["id"] for r in page["runs"]] == made[:5:-1] and "log" not in page["runs"][0]
    rest = client.get("/v1/plugins/runs", params={"page_size": 100, "plugin_id": plugin, "page_token": page["next_page_token"]}).json()
    assert [r["id"] for r in rest["runs"]] == made[5::-1] and "next_page_token" not in rest
    since = client.get("/v1/plugins/runs", params={"ended_since": min((e["ended_at"] for e in ended), key=datetime.datetime.fromisoformat), "with_log": "true"}).json()["runs"]
    assert len(since) == 10 and since[0]["log"] == "adding 1\n"
    assert [r["ended_at"] for r in since] == sorted((r["ended_at"] for r in since), key=datetime.datetime.fromisoformat)
    paged, token = [], None
    while token or not paged:
        page = client.get("/v1/plugins/runs", params={"ended_since": since[0]["ended_at"], "page_size": 3, **({"page_token": token} if token else {})}).json()
        paged += [r["id"] for r in page["runs"]]
        token = page.get("next_page_token")
    assert paged == [r["id"] for r in since] and "log" not in page["runs"][0]
    told = client.get("/v1/plugins/statistics").json()
    assert told["runs"] == 10 and told["queued"] == 0 and told["outcomes"][0]["outcome"] == "OK"
    until(lambda: kinds(client, "sandbox.run.*").count("sandbox.run.completed") == 10, "each end is told")


def test_a_failed_run_is_told(stack):
    client = tenant(stack)
    plugin = create(client, "result = 1 / 0")
    assert until_ended(client, queue(client, plugin))["outcome"] == "RUNTIME_ERROR"
    assert run(client, plugin)["outcome"] == "RUNTIME_ERROR"
    assert client.get("/v1/plugins/runs", params={"outcome": "OK"}).json() == {}
    until(lambda: kinds(client, "sandbox.run.*") == ["sandbox.run.failed"] * 2, "the failures are told")


def test_a_run_is_cancelled_where_it_runs_and_where_it_waits(stack):
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = [queue(client, plugin) for _ in range(12)]  # more than there are slots
    until_state(client, made[0], "RUN_UNDER_WAY")
    for one in reversed(made):
        assert client.post(f"/v1/plugins/runs/{one}/cancel").status_code == 200
    ended = [until_ended(client, one) for one in made]
    assert {e["outcome"] for e in ended} == {"CANCELLED"}
    assert client.post(f"/v1/plugins/runs/{made[0]}/cancel").json()["outcome"] == "CANCELLED"
    assert run_code(client, "result = 1")["result"] == 1  # the slots are free again


def test_the_queue_of_a_tenant_is_bounded_by_its_plan(own):
    stack = own(Serve)
    limits = [{"resource": "plugins.queued", "limit": 3, "window_ms": 1000}, {"resource": "plugins.at_once", "limit": 1, "window_ms": 1000}]
    stack.operator.post("/v1/plans", {"name": "tiny", "limits": limits})
    client = tenant(stack, plan="tiny")
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})

    def refused():
        answer = client.post(f"/v1/plugins/{plugin}/queue")
        return answer.status_code == 429 and [answer]
    assert until(refused, "the queue is full")[0].json()["type"].endswith("quota-exceeded")
    assert len(client.get("/v1/plugins/runs", params={"state": "RUN_QUEUED"}).json()["runs"]) == 3
    other = tenant(stack)  # whose run does not wait for theirs
    assert until_ended(other, queue(other, create(other, "result = 1")))["result"] == 1
    for one in client.get("/v1/plugins/runs", params={"page_size": 200}).json()["runs"]:
        client.post(f"/v1/plugins/runs/{one['id']}/cancel")


def test_queued_runs_survive_a_kill_and_are_begun_again(own):
    stack = own(Serve, "--sandboxd.lease=3s")
    client = tenant(stack)
    plugin = create(client, "n = 0\nfor i in range(context['turns']):\n    n += i\nresult = n",
                    limits={"cpu_ms": 60000, "wall_ms": 120000})
    slow = [queue(client, plugin, {"turns": 10 ** 7 * 3}) for _ in range(2)]
    quick = [queue(client, plugin, {"turns": 10}) for _ in range(20)]
    until_state(client, slow[0], "RUN_UNDER_WAY")
    stack.restart(signal.SIGKILL)
    client = stack.client(client.key)
    ended = [until_ended(client, one) for one in slow + quick]
    assert {e["outcome"] for e in ended} == {"OK"} and {e["result"] for e in ended[2:]} == {45}
    assert ended[0]["attempts"] == 2 and max(e["attempts"] for e in ended) == 2


def test_a_run_that_loses_its_replica_too_often_is_given_up(own):
    stack = own(Serve, "--sandboxd.lease=3s", "--sandboxd.attempts=1")
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = queue(client, plugin)
    until_state(client, made, "RUN_UNDER_WAY")
    stack.restart(signal.SIGKILL)
    ended = until_ended(stack.client(client.key), made)
    assert ended["outcome"] == "HOST_ERROR" and ended["attempts"] == 1


def test_a_run_whose_row_cannot_be_read_holds_up_no_other(own):
    stack = own(Serve, "--sandboxd.lease=3s", "--sandboxd.attempts=1")
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = [queue(client, plugin) for _ in range(2)]
    for one in made:
        until_state(client, one, "RUN_UNDER_WAY")
    stack.serve.stop(signal.SIGKILL)
    with sqlite3.connect(stack.data / "sandboxd.db") as database:
        database.execute("UPDATE runs SET message = x'ff', leased_until = 1 WHERE id = ?", (made[0],))
    database.close()
    stack.start()
    client = stack.client(client.key)
    assert [until_ended(client, one)["outcome"] for one in reversed(made)] == ["HOST_ERROR"] * 2


def test_a_stop_hands_queued_runs_back_without_counting_them(own):
    stack = own(Serve, "--drain.grace=4s")
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = queue(client, plugin)
    until_state(client, made, "RUN_UNDER_WAY")
    assert stack.restart() == 0
    client = stack.client(client.key)
    assert until_state(client, made, "RUN_UNDER_WAY")["attempts"] == 1
    client.post(f"/v1/plugins/runs/{made}/cancel")
    until_ended(client, made)


def test_replicas_share_the_queue_and_follow_each_other(own):
    stack = own(Processes, replicas={"sandboxd": 2}, redis=False)
    client = tenant(stack)
    plugin = create(client, "n = 0\nfor i in range(context['turns']):\n    n += i\nresult = n",
                    limits={"cpu_ms": 60000, "wall_ms": 120000})
    made = [queue(client, plugin, {"turns": 3 * 10 ** 6}) for _ in range(30)]
    until(lambda: sum(read(client, one).get("state") == "RUN_ENDED" for one in made) >= 2, "some have ended")
    stack.by_name["sandboxd", 1].stop(signal.SIGKILL)
    ended = [until_ended(client, one) for one in made]
    assert {e["outcome"] for e in ended} == {"OK"} and max(e["attempts"] for e in ended) <= 2
    # The other one goes on, and a change reaches it.
    client.patch(f"/v1/plugins/{plugin}", {"code": "result = 'new'", "install": True})
    until(lambda: run(client, plugin, {"turns": 1})["result"] == "new", "the change is in force")


def test_a_run_is_cancelled_on_another_replica(own):
    stack = own(Processes, replicas={"sandboxd": 2}, redis=False)
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = [queue(client, plugin) for _ in range(4)]
    for one in made:
        until_state(client, one, "RUN_UNDER_WAY")
        client.post(f"/v1/plugins/runs/{one}/cancel")
        assert until_ended(client, one)["outcome"] == "CANCELLED"


def test_who_waits_is_told_when_the_replica_dies(own):
    stack = own(Processes, redis=False)
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    run_code(client, "result = 1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(stack.client(client.key).post, f"/v1/plugins/{plugin}/run")
        daemon = stack.by_name["sandboxd", 0]
        until(lambda: stack.metric(daemon, "corbel_sandbox_under_way") == 1, "it runs")
        daemon.stop(signal.SIGKILL)
        assert waiting.result(60).status_code == 503
