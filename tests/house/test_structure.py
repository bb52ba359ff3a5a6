"""The house keeps its order: who may know whom, read from the includes of the sources."""
import os
import pathlib
import re

import pytest

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
SERVICES = sorted(p.name for p in (SOURCE / "services").iterdir() if p.is_dir())

# A folder of common/ includes itself and what stands below it.
FLOORS = [{"base"}, {"config", "telemetry", "http", "auth", "events"}, {"bus", "api", "store", "redis", "outbound", "mail"}, {"daemon", "cloudevents", "schema"}]

# Libraries that stay in one room each, so that they can be replaced there.
ROOMS = {
    r"nng/": ["common/bus"],
    r"microhttpd\.h": ["services/ingress", "common/daemon/admin.c"],
    r"gnutls/": ["services/ingress"],
    r"wslay/": ["services/ingress"],
    r"libpq-fe\.h|sqlite3\.h": ["common/store"],
    r"hiredis/": ["common/redis"],
    r"yaml\.h": ["common/config", "clients/cli/profile.c"],
    r"curl/": ["common/telemetry", "common/outbound", "common/mail", "clients"],
    r"jansson\.h": ["common/telemetry", "clients"],
}

# What a handler must not see: JSON, HTTP, the bus. A service may write the RateLimit header of its reply.
FORBIDDEN_TO_HANDLERS = re.compile(r"api/(json|routes)\.h|bus/(?!pubsub\.h)|http/(?!ratelimit_headers\.h)|nng/|microhttpd|curl/|jansson")


def sources(*folders):
    return [path for folder in folders for path in sorted((SOURCE / folder).rglob("*.[ch]"))]


def includes(path):
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', path.read_text(), re.M)


def code(path):
    """Without comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.S)


def room(path):
    return path.relative_to(SOURCE)


def floor_of(folder):
    return next((i for i, floor in enumerate(FLOORS) if folder in floor), None)


def test_there_is_something_to_look_at():
    assert len(sources("common")) > 100 and {"accountd", "ingress", "ratelimitd"} <= set(SERVICES)
    assert "base/text.h" in includes(SOURCE / "common/api/json_read.c")


@pytest.mark.parametrize("folder", sorted(p.name for p in (SOURCE / "common").iterdir() if p.is_dir()))
def test_a_folder_of_common_knows_itself_and_the_floors_below(folder):
    own = floor_of(folder)
    assert own is not None, f"say in FLOORS where common/{folder} stands"
    for path in sources(f"common/{folder}"):
        for name in includes(path):
            above = floor_of(name.split("/")[0]) if "/" in name else None
            other = name.split("/")[0]
            assert above is None or other == folder or above < own, f"{room(path)} includes {name}"


def test_common_knows_no_service():
    words = re.compile(rf"\b({'|'.join(SERVICES)})")
    for path in sources("common"):
        found = words.search(code(path))
        assert not found, f"{room(path)} names {found.group()}"
        for name in includes(path):
            assert not re.match(r"(services|clients)/|corbel/.*\.(methods|handlers)\.gen\.h", name), f"{room(path)}: {name}"


def test_the_command_line_and_the_generator_know_no_service():
    # The ingress is known to both as the front door, which serves every contract.
    words = re.compile(rf"\b({'|'.join(s for s in SERVICES if s != 'ingress')})\b")
    for path in sources("clients", "tools"):
        found = words.search(code(path))
        assert not found, f"{room(path)} names {found.group()}"


@pytest.mark.parametrize("service", SERVICES)
def test_services_never_include_each_other(service):
    own = {p.relative_to(SOURCE / "services" / service).as_posix() for p in sources(f"services/{service}")}
    elsewhere = {p.name for p in sources("services") if service not in p.parts} - {pathlib.PurePath(o).name for o in own}
    for path in sources(f"services/{service}"):
        for name in includes(path):
            where = f"{room(path)} includes {name}"
            assert name not in elsewhere and ".." not in name, where
            assert name.split("/")[0] not in set(SERVICES) - {service}, where
            made = re.match(r"corbel/(\w+)\.(methods|handlers)\.gen\.h", name)
            assert not made or made.group(1) == service, where


@pytest.mark.parametrize("service", [s for s in SERVICES if s != "ingress"])
def test_handlers_never_see_json_http_or_the_bus(service):
    for path in sources(f"services/{service}"):
        for name in includes(path):
            assert not FORBIDDEN_TO_HANDLERS.match(name), f"{room(path)} includes {name}"


@pytest.mark.parametrize("library", ROOMS)
def test_a_library_stays_in_its_rooms(library):
    seen = False
    for path in sources("common", "services", "clients", "tools"):
        if any(re.match(library, name) for name in includes(path)):
            seen = True
            assert any(room(path).as_posix().startswith(r) for r in ROOMS[library]), f"{room(path)} includes {library}"
    assert seen, f"nothing includes {library}"


def test_a_file_includes_nothing_of_the_services_folder_by_path():
    for path in sources("common", "services", "clients", "tools"):
        assert not [name for name in includes(path) if name.startswith("services/")], room(path)


def test_only_the_build_and_deployment_list_the_services():
    """Adding one must not mean editing code: no file outside its folder lists all services."""
    lists = re.compile("|".join(SERVICES))
    for path in sources("common", "clients", "tools"):
        assert len(set(lists.findall(code(path)))) <= 1, room(path)
    listed = re.findall(r"^corbel_service\((\w+)", (SOURCE / "CMakeLists.txt").read_text(), re.M)
    assert sorted(listed) == SERVICES


def test_what_the_leak_detector_overlooks_is_one_function_each():
    overlooked = re.findall(r'leak:\^(\w+)\$', (SOURCE / "tests/asan/nng.c").read_text())
    assert overlooked and "leak:" not in re.sub(r"leak:\^\w+\$", "", code(SOURCE / "tests/asan/nng.c"))
    for name in overlooked:
        places = [path for path in sources("common", "services", "clients") if re.search(rf"^{name}\(", path.read_text(), re.M)]
        assert len(places) == 1 and room(places[0]).as_posix().startswith("common/bus/"), f"{name}: {places}"


def test_who_waits_until_a_time_does_so_by_the_monotonic_clock():
    """A condition that is made otherwise goes by the wall clock."""
    for path in sources("common", "services", "clients"):
        text = code(path)
        assert "pthread_condattr" not in text or room(path).as_posix() == "common/base/monotonic.c", room(path)
        for waited in re.findall(r"pthread_cond_timedwait\(&([\w>.-]+),", text):
            member = re.split(r"\.|->", waited)[-1]
            made = [p for p in path.parent.glob("*.c") if re.search(rf"monotonic_cond_init\(&[\w>.-]*\b{member}\)", code(p))]
            assert made, f"{room(path)}: {waited}"
