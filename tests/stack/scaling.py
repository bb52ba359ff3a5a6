"""Checks a second with 1, 2 and 3 replicas of ratelimitd, each held to a share of one processor.

    ./dev bench --stack [ROUNDS] [SECONDS]

The load, the ingress and Redis have the other processors, so what grows is what replicas of ratelimitd add. On two processors
the share has to be small: three replicas together may not need more than one of them, nor what calls them more than the other.
The first row is asked over the bus, where replicas always find full messages to work on. The second is asked over HTTP, where
an ingress puts together what has come meanwhile: the faster the replicas, the less, so that a check costs each of them more.
"""
import os
import pathlib
import re
import statistics
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
from compose import DAEMONS, STORES, Compose  # noqa: E402
from engine import Engine, run  # noqa: E402
from stack import BIN, until  # noqa: E402

SHARE = float(os.environ.get("CORBEL_STACK_SHARE", "0.05"))  # of a processor, each replica
QUOTA_US = 1000  # the least there is, said in scaling.yml
COSTS = ("ratelimitd", "redis", "ingress")
UNDER_WAY = 1024  # checks over the bus, for each replica
SHARES_MAX = 262144
CONNECTIONS = 256
KEYS = 1000
SCRIPT = """\
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["Content-Type"] = "application/json"
local requests, n = {}, 0
init = function()
  for i = 1, %d do
    requests[i] = wrk.format(nil, nil, nil, '{"checks":[{"limit":"plenty","key":"user-' .. i .. '"}]}')
  end
end
request = function()
  n = n %% %d + 1
  return requests[n]
end
"""


def processors():
    return sorted(os.sched_getaffinity(0))


def others():
    return ",".join(map(str, processors()[:-1] or processors()))


def hold(compose):
    """The last processor is the replicas', the others are everybody else's; whatever the machine does beside comes after them."""
    for name in {*STORES, *DAEMONS} - {"ratelimitd"}:
        run("docker", "update", "--cpu-shares", SHARES_MAX, "--cpuset-cpus", others(), *compose.ids(name))
    run("docker", "update", "--cpu-shares", SHARES_MAX, "--cpuset-cpus", str(processors()[-1]), *compose.ids("ratelimitd"))


def cpu_s(compose, service):
    """Processor time that the programs of its containers have had: fields 14 and 15 of proc(5)'s stat, here after the name."""
    ticks = 0
    for container in compose.containers(service):
        fields = pathlib.Path(f"/proc/{container['State']['Pid']}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def over_http(compose, client, script, seconds):
    said = first("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, compose.url + "/v1/ratelimits/check",
                 timeout=seconds + 60)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return float(re.search(r"Requests/sec: +(\S+)", said).group(1)), int(failed.group(1)) if failed else 0


def over_bus(compose, client, _, seconds):
    addresses = [f"tcp://{compose.address(container)}:7100" for container in compose.containers("ratelimitd")]
    said = first(BIN / "bench/check_load", ",".join(addresses), client.tenant_id, "plenty", UNDER_WAY * len(addresses), seconds,
                 timeout=seconds + 60)
    return tuple(map(float, said.split()))


def first(*argv, timeout):
    """Before whatever the machine does beside, and not where the replicas are."""
    return run(*(["nice", "-n", "-20"] if os.geteuid() == 0 else []), "taskset", "-c", others(), *argv, timeout=timeout).stdout


def measured(compose, load, client, script, seconds):
    """Checks a second, microseconds of processor time that one takes of each service, failures."""
    before = {name: cpu_s(compose, name) for name in COSTS}
    rate, failed = load(compose, client, script, seconds)
    return rate, {name: (cpu_s(compose, name) - before[name]) * 1e6 / max(rate * seconds, 1) for name in COSTS}, failed


def tell(way, replicas, rows, alone):
    rate = statistics.median(row[0] for row in rows)
    alone = alone or rate
    costs = "  ".join(f"{name} {statistics.median(row[1][name] for row in rows):.1f}" for name in COSTS)
    print(f"{way:4} ratelimitd x {replicas}  {rate:8.0f} checks/s  {rate / alone:4.2f} times, {rate / alone / replicas:4.2f} of linear  "
          f"CPU us a check: {costs}  failed {sum(row[2] for row in rows):.0f}", flush=True)
    return alone


def bench(compose, client, script, rounds, seconds):
    print(f"medians of {rounds} rounds of {seconds} s; each replica has {SHARE} of a processor")
    alone = {}
    for replicas in (1, 2, 3):
        compose.up(ratelimitd=replicas)
        compose.until_reached("ratelimitd")
        hold(compose)
        for way, load in (("bus", over_bus), ("HTTP", over_http)):
            load(compose, client, script, 1)  # connections, verified key, limits in memory
            rows = [measured(compose, load, client, script, seconds) for _ in range(rounds)]
            alone[way] = tell(way, replicas, rows, alone.get(way))


def main(rounds=3, seconds=5):
    engine = Engine()
    try:
        tag = os.environ.get("CORBEL_STACK_IMAGE")
        if not tag:
            tag = "corbel:stack-test"
            engine.build(tag)
        compose = Compose(engine, tag, files=("override.yml", "scaling.yml"))
        compose.own["SCALING_PERIOD_US"] = str(round(QUOTA_US / SHARE))
        try:
            compose.up()
            client = compose.tenant(plan="unlimited", scopes=["*"])
            made = client.post("/v1/limits", {"name": "plenty", "strategy": "TOKEN_BUCKET", "limit": 10**9, "window_ms": 1000})
            assert made.status_code == 201, made.text
            until(lambda: client.post("/v1/ratelimits/check", {"checks": [{"limit": "plenty", "key": "a"}]}).status_code == 200,
                  "the limit is known")
            with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
                script.write(SCRIPT % (client.key, KEYS, KEYS))
                script.flush()
                bench(compose, client, script.name, rounds, seconds)
        finally:
            compose.remove()
    finally:
        engine.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
