"""What containers ask of the programs: whether they are ready, schemas made beforehand, addresses by one pattern."""
import sqlite3
import subprocess

from stack import BIN, Process, Serve, free_port, until


def corbel(*words):
    return subprocess.run([BIN / "corbel", *words], capture_output=True, text=True, timeout=120)


def test_health_tells_whether_a_daemon_is_ready_by_its_exit_code(own):
    stack = own(Serve)
    admin = f"127.0.0.1:{stack.admin_port}"
    ready = corbel("health", admin)
    assert ready.returncode == 0 and '"status":"pass"' in ready.stdout
    assert corbel("health", admin, "--live").returncode == 0
    stack.serve.stop()
    gone = corbel("health", admin)
    assert gone.returncode == 8 and admin in gone.stderr


def test_health_refuses_what_it_does_not_know():
    assert corbel("health", "--nonsense").returncode == 2
    assert "admin port" in corbel("health", "--help").stdout


def test_migrate_makes_every_schema_and_may_run_again(tmp_path):
    for _ in range(2):
        ran = corbel("migrate", f"--data={tmp_path}")
        assert ran.returncode == 0, ran.stderr
        assert "schemas are up to date" in ran.stderr
    made = {path.stem for path in tmp_path.glob("*.db")}
    assert {"accountd", "ratelimitd", "webhookd", "cached"} <= made
    for name in made:
        with sqlite3.connect(tmp_path / f"{name}.db") as database:
            assert database.execute("SELECT max(version) FROM schema_migrations").fetchone()[0] >= 1


def test_migrate_gives_up_when_it_is_stopped(tmp_path):
    process = Process("migrate", [BIN / "corbel", "migrate", f"--data={tmp_path}",
                                  f"--store.url=postgresql://nobody@127.0.0.1:{free_port()}/nothing"], tmp_path)
    process.wait_for("store is away")
    assert process.stop() == 1


def test_one_pattern_tells_daemons_where_the_others_are(tmp_path):
    (tmp_path / "run").mkdir()
    port = free_port()
    common = [f"--bus.template=ipc://{tmp_path}/run/{{name}}.calls", f"--pub.template=ipc://{tmp_path}/run/{{name}}.news",
              "--admin.listen=127.0.0.1:0"]
    started = []
    try:
        for name, *own in (("accountd",), ("ingress", f"--ingress.listen=127.0.0.1:{port}")):
            started.append(Process(name, [BIN / name, f"--data={tmp_path}/data-{name}", *common, *own], tmp_path))
            started[-1].wait_for("^ready$")
        key = started[0].wait_for(r"^first admin key: (\S+)").group(1)

        def lists_tenants():
            ran = subprocess.run([BIN / "corbel", "tenants", "list", "--output", "json"], capture_output=True, text=True, timeout=60,
                                 env={"CORBEL_URL": f"http://127.0.0.1:{port}", "CORBEL_API_KEY": key, "HOME": str(tmp_path)})
            return ran.returncode == 0 and '"root"' in ran.stdout
        until(lists_tenants, "the ingress reaches accountd")
    finally:
        for process in reversed(started):
            process.stop()


def test_a_pattern_without_a_place_for_the_name_is_refused(tmp_path):
    for option, value in (("bus.template", "tcp://accountd:7100"), ("pub.template", "{name}")):
        ran = subprocess.run([BIN / "accountd", f"--data={tmp_path}", "--check-config", f"--{option}={value}"],
                             capture_output=True, text=True, timeout=60)
        assert ran.returncode == 2 and option in ran.stderr
