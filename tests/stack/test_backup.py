"""A dump of the database and the secrets of .env are the whole of a backup."""
import subprocess

from compose import Compose
from stack import until


def in_postgres(compose, *argv, given=None):
    ran = subprocess.run(["docker", "exec", "-i", compose.ids("postgres")[0], *argv], input=given, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    return ran.stdout


def test_a_dump_and_the_secrets_restore_everything_into_an_empty_stack(compose, engine, image):
    tenant = compose.tenant(plan="basic", scopes=["*"])
    made = tenant.post("/v1/events", {"events": [{"type": "kept.safe", "data": {"n": 1}}]})
    assert made.status_code == 200, made.text
    dump = in_postgres(compose, "pg_dump", "-U", "corbel", "-Fc", "corbel")
    other = Compose(engine, image)
    try:
        other.file.write_text(compose.file.read_text())
        other.admin_key = compose.admin_key
        other.compose("up", "-d", "--no-build", "postgres")
        until(lambda: all(c["State"]["Health"]["Status"] == "healthy" for c in other.containers("postgres")), "PostgreSQL is there")
        in_postgres(other, "pg_restore", "-U", "corbel", "-d", "corbel", "--exit-on-error", given=dump)
        other.up()
        assert other.operator.get(f"/v1/tenants/{tenant.tenant_id}").json()["plan"] == "basic"
        theirs = other.client(tenant.key)  # its hash needs the pepper
        events = theirs.get("/v1/events", params={"page_size": 100}).json()["events"]
        assert made.json()["events"][0]["id"] in [event["id"] for event in events]
    finally:
        other.remove()
