"""When an ingress says that it is ready."""
import requests
from stack import Processes, until


def readiness(stack, number):
    answer = requests.get(stack.url_of(number) + "/readyz", timeout=10)
    return answer.status_code, answer.text


def is_ready(stack, number):
    return readiness(stack, number)[0] == 200


def test_an_ingress_is_ready_when_it_has_reached_its_services_once_and_stays_so(own):
    stack = own(Processes)
    stack.by_name["ratelimitd", 0].stop()
    stack.start_daemon("ingress", 1)
    assert readiness(stack, 1)[0] == 503
    until(lambda: "ratelimitd has not been reached yet" in readiness(stack, 1)[1], "it says what it waits for")
    stack.start_daemon("ratelimitd")
    until(lambda: is_ready(stack, 1), "it is ready")
    for name in ("ratelimitd", "accountd", "webhookd", "cached"):
        stack.by_name[name, 0].stop()
    mine = stack.client(stack.admin_key)
    until(lambda: mine.get("/v1/tenants").status_code == 503, "its services are away")
    assert is_ready(stack, 0) and is_ready(stack, 1)


def test_the_first_calls_of_an_ingress_that_is_ready_find_every_service(own):
    stack = own(Processes)
    client = stack.tenant(plan="unlimited", scopes=["*"])
    for number in (1, 2, 3):
        stack.start_daemon("ingress", number)
        until(lambda: is_ready(stack, number), "it is ready")
        mine = type(client)(stack.url_of(number), client.key)
        for path in ("/v1/webhooks", "/v1/caches", "/v1/limits", "/v1/keys"):
            assert mine.get(path).status_code == 200, path


def test_a_service_that_is_not_there_at_all_does_not_keep_an_ingress_from_being_ready(own):
    stack = own(Processes)
    stack.by_name["cached", 0].stop()
    stack.start_daemon("ingress", 1)
    until(lambda: is_ready(stack, 1), "it is ready")
