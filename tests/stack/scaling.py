"""Checks a second with 1, 2 and 3 replicas of ratelimitd, each held to a share of one processor.

    ./dev bench --stack [ROUNDS] [SECONDS]

The ingress, Redis and the load have the other processors, so what grows is what replicas of ratelimitd add. On two processors
the share has to be small: three replicas together may not need more than one of them, nor the ingress more than the other.
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
from stack import until  # noqa: E402

SHARE = os.environ.get("CORBEL_STACK_SHARE", "0.04")  # of a processor, each replica
COSTS = ("ratelimitd", "redis", "ingress")
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


def hold(compose, processors):
    """The last processor is the replicas', the others are everybody else's; whatever the machine does beside comes after them."""
    others = ",".join(str(p) for p in processors[:-1]) or str(processors[0])
    for name in {*STORES, *DAEMONS} - {"ratelimitd"}:
        run("docker", "update", "--cpu-shares", SHARES_MAX, "--cpuset-cpus", others, *compose.ids(name))
    run("docker", "update", "--cpu-shares", SHARES_MAX, "--cpuset-cpus", str(processors[-1]), "--cpus", SHARE,
        *compose.ids("ratelimitd"))
    return others


def cpu_s(compose, service):
    """Processor time that the programs of its containers have had: fields 14 and 15 of proc(5)'s stat, here after the name."""
    ticks = 0
    for container in compose.containers(service):
        fields = pathlib.Path(f"/proc/{container['State']['Pid']}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load(compose, script, others, seconds):
    """One measurement: checks a second, microseconds of processor time that one takes of each service, failures."""
    before = {name: cpu_s(compose, name) for name in COSTS}
    first = ["nice", "-n", "-20"] if os.geteuid() == 0 else []
    said = run(*first, "taskset", "-c", others, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script,
               compose.url + "/v1/ratelimits/check", timeout=seconds + 60).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    count = int(re.search(r"(\d+) requests in", said).group(1))
    costs = {name: (cpu_s(compose, name) - before[name]) * 1e6 / max(count, 1) for name in COSTS}
    return float(re.search(r"Requests/sec: +(\S+)", said).group(1)), costs, int(failed.group(1)) if failed else 0


def measure(compose, replicas, script, rounds, seconds):
    compose.up(ratelimitd=replicas)
    compose.until_reached("ratelimitd")
    others = hold(compose, sorted(os.sched_getaffinity(0)))
    load(compose, script, others, 1)  # connections, verified key, limits in memory
    return [load(compose, script, others, seconds) for _ in range(rounds)]


def main(rounds=3, seconds=5):
    engine = Engine()
    try:
        tag = os.environ.get("CORBEL_STACK_IMAGE")
        if not tag:
            tag = "corbel:stack-test"
            engine.build(tag)
        compose = Compose(engine, tag, files=("override.yml", "scaling.yml"))
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
                print(f"medians of {rounds} rounds of {seconds} s; each replica has {SHARE} of a processor")
                first = None
                for replicas in (1, 2, 3):
                    rows = measure(compose, replicas, script.name, rounds, seconds)
                    rate = statistics.median(row[0] for row in rows)
                    first = first or rate
                    costs = "  ".join(f"{name} {statistics.median(row[1][name] for row in rows):.1f}" for name in COSTS)
                    print(f"ratelimitd x {replicas}  {rate:8.0f} checks/s  {rate / first:4.2f} times  CPU us a check: {costs}"
                          f"  failed {sum(row[2] for row in rows)}", flush=True)
        finally:
            compose.remove()
    finally:
        engine.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
