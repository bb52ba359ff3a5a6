"""docker-compose.yml runs every daemon that there is."""
import os
import pathlib
import re

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))


def test_every_daemon_is_a_service_of_the_compose_file():
    text = (SOURCE / "docker-compose.yml").read_text()
    services = set(re.findall(r"^  ([a-z]+):", text[text.index("\nservices:\n"):text.index("\nvolumes:\n")], re.M))
    daemons = {path.parent.name for path in (SOURCE / "services").glob("*/main.c")}
    missing = [f"  {name}: {{<<: *daemon, command: [{name}]}}" for name in sorted(daemons - services)]
    assert not missing, "add to the services of docker-compose.yml:\n" + "\n".join(missing)
    assert {"postgres", "redis", "migrate"} <= services


def test_every_secret_that_the_compose_file_demands_is_in_the_example_of_its_environment():
    demanded = set(re.findall(r"\$\{(\w+):\?", (SOURCE / "docker-compose.yml").read_text()))
    named = set(re.findall(r"^(\w+)=$", (SOURCE / ".env.example").read_text(), re.M))
    assert demanded and demanded == named
