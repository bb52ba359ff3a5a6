"""E-mail to the contacts of endpoints that Corbel disables, through a real SMTP server."""
import re
import signal
import socket
import subprocess
import threading

import pytest
import requests
from post import Post
from sink import Sink
from stack import BIN, Processes, Serve, free_port, until
from test_ingress_tls import write_pair

FROM = "Corbel à Lyon <corbel@example.com>"
SCOPES = ["events.*", "webhooks.*"]
FAST = ("--webhookd.mail_retry=100ms", "--webhookd.mail_timeout=2s")


def options(url, *more):
    return [f"--webhookd.mail_url={url}", f"--webhookd.mail_from={FROM}", "--webhookd.mail_starttls=none", *FAST, *more]


@pytest.fixture(scope="module")
def post():
    with Post() as made:
        yield made


@pytest.fixture(scope="module")
def mailing(post):
    stack = Serve(*options(post.url))
    yield stack
    stack.stop()


def disable(stack, contacts, status=410, client=None, **more):
    """An endpoint with these contacts that has been disabled for what it answers; its id and URL."""
    client = client or stack.tenant(plan="unlimited", scopes=SCOPES)
    with Sink(lambda hook: status) as sink:
        made = client.post("/v1/webhooks", {"url": sink.url + "/hook", "contacts": contacts,
                                            "filter": {"types": ["invoice.*"]}, **more})
        assert made.status_code == 201, made.text
        endpoint = made.json()["endpoint"]
        client.post("/v1/events", {"events": [{"type": "invoice.paid", "data": {}}]})
        until(lambda: client.get(f"/v1/webhooks/{endpoint['id']}").json().get("disabled"), "the endpoint is disabled")
    return endpoint["id"], endpoint["url"]


def letters_about(post, endpoint, count):
    post.wait(lambda letters: sum(endpoint in letter.text for letter in letters) >= count, f"letters about {endpoint}")
    return [letter for letter in post.letters if endpoint in letter.text]


def mails(stack, result):
    body = requests.get(f"http://127.0.0.1:{stack.admin_port}/metrics", timeout=10).text
    found = re.search(rf'^corbel_webhook_mails_total{{.*result="{result}".*}} (\d+)', body, re.M)
    return int(found.group(1)) if found else 0


def test_each_contact_is_told_once_that_the_endpoint_answered_410(mailing, post):
    endpoint, url = disable(mailing, ["ops@example.com", "o'hara+hooks@example.org"])
    letters = letters_about(post, endpoint, 2)
    assert sorted(letter.recipients[0] for letter in letters) == ["o'hara+hooks@example.org", "ops@example.com"]
    for letter in letters:
        message = letter.message
        assert letter.sender == "corbel@example.com" and len(letter.recipients) == 1
        assert message["To"] == letter.recipients[0] and message["From"] == FROM
        assert endpoint in message["Subject"] and message["Auto-Submitted"] == "auto-generated"
        assert message["Date"].datetime is not None and not message.defects
        assert re.fullmatch(r"<mail_[0-9a-f]{32}@example\.com>", message["Message-ID"])
        assert url in letter.text and "410 Gone" in letter.text and f"corbel webhooks enable {endpoint}" in letter.text
        assert max(len(line) for line in letter.raw.split(b"\r\n")) <= 78
    assert len({letter.message["Message-ID"] for letter in letters}) == 2
    until(lambda: mails(mailing, "sent") >= 2, "both are counted")


def test_an_endpoint_that_failed_for_too_long_is_told_of_with_the_time_since_then(mailing, post):
    endpoint, _ = disable(mailing, ["ops@example.com"], status=500, disable_after_ms=1, retry_ms=[100] * 10)
    assert re.search(r"has failed since\s+20\d\d-", letters_about(post, endpoint, 1)[0].text)


def test_nobody_is_told_when_somebody_disables_an_endpoint_himself(mailing, post):
    client = mailing.tenant(plan="unlimited", scopes=SCOPES)
    with Sink() as sink:
        made = client.post("/v1/webhooks", {"url": sink.url, "contacts": ["ops@example.com"]}).json()["endpoint"]["id"]
        assert client.post(f"/v1/webhooks/{made}/disable").status_code == 200
    later, _ = disable(mailing, ["ops@example.com"], client=client)
    letters_about(post, later, 1)
    assert not [letter for letter in post.letters if made in letter.text]


def test_a_letter_that_is_refused_for_now_is_tried_again_under_the_same_id(mailing, post):
    seen = []

    def busy(letter):
        seen.append(letter.message["Message-ID"])
        return "451 later" if len(seen) < 3 else "250 OK"

    post.data = busy
    try:
        endpoint, _ = disable(mailing, ["ops@example.com"])
        assert [x.message["Message-ID"] for x in letters_about(post, endpoint, 1)] == [seen[0]]
    finally:
        post.data = lambda _: "250 OK"
    assert len(seen) == 3 and len(set(seen)) == 1


def test_a_recipient_that_is_refused_for_good_is_not_asked_again_and_keeps_no_other_from_its_letter(mailing, post):
    before = mails(mailing, "refused")
    post.to = lambda address: "550 5.1.1 no such mailbox" if address == "gone@example.com" else "250 OK"
    try:
        endpoint, _ = disable(mailing, ["gone@example.com", "here@example.com"])
        assert [letter.recipients for letter in letters_about(post, endpoint, 1)] == [["here@example.com"]]
        until(lambda: mails(mailing, "refused") == before + 1, "the refusal is counted")
    finally:
        post.to = lambda _: "250 OK"
    assert post.tried.count("gone@example.com") == 1
    assert "550 5.1.1 no such mailbox" in mailing.serve.output()


@pytest.mark.parametrize("size", ["serve", "processes"])
def test_a_letter_waits_for_a_server_that_is_away_also_through_kill_9(own, size):
    port = free_port()
    stack = own(Serve if size == "serve" else Processes, *options(f"smtp://127.0.0.1:{port}"))
    endpoint, _ = disable(stack, ["ops@example.com"])
    if size == "serve":
        assert stack.restart(signal.SIGKILL) == -signal.SIGKILL
    else:
        stack.by_name["webhookd", 0].stop(signal.SIGKILL)
        stack.start_daemon("webhookd")
    with Post(port=port) as post:
        assert len(letters_about(post, endpoint, 1)) == 1


def test_a_letter_whose_sender_was_killed_while_it_was_under_way_is_sent_after_its_lease(own):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        stack = own(Serve, *options(f"smtp://127.0.0.1:{port}"))
        opened = []
        threading.Thread(target=lambda: opened.append(silent.accept()), daemon=True).start()
        endpoint, _ = disable(stack, ["ops@example.com"])
        until(lambda: opened, "the letter is under way")
        stack.serve.stop(signal.SIGKILL)
        opened[0][0].close()
    with Post(port=port) as post:
        stack.start()
        assert len(letters_about(post, endpoint, 1)) == 1


def test_a_letter_that_nobody_takes_is_given_up_after_its_time_with_a_line_in_the_log(own):
    stack = own(Serve, *options(f"smtp://127.0.0.1:{free_port()}", "--webhookd.mail_give_up=500ms"))
    endpoint, _ = disable(stack, ["ops@example.com"])
    until(lambda: mails(stack, "given_up") == 1, "the letter is given up")
    assert mails(stack, "failed") >= 1
    line = next(x for x in stack.serve.output().splitlines() if "e-mail given up" in x)
    assert endpoint in line


def test_credentials_travel_only_after_starttls_with_a_certificate_that_is_known(own, tmp_path):
    write_pair(tmp_path, "mail")
    pair = (tmp_path / "mail.pem", tmp_path / "mail.key")
    with Post(pair=pair, users={"corbel": "p@ss word"}) as post:
        url = post.url.replace("smtp://", "smtp://corbel:p%40ss%20word@")
        stack = own(Serve, *options(url), "--webhookd.mail_starttls=required", f"--webhookd.mail_ca_file={pair[0]}")
        endpoint, _ = disable(stack, ["ops@example.com"])
        assert letters_about(post, endpoint, 1)[0].is_secure
        stranger = own(Serve, *options(url), "--webhookd.mail_starttls=required")
        disable(stranger, ["ops@example.com"])
        until(lambda: mails(stranger, "failed") >= 1, "the unknown certificate is counted as a failure")
        assert mails(stranger, "sent") == 0 and len(post.letters) == 1
        assert "p@ss" not in stack.serve.output() + stranger.serve.output()


def test_nothing_is_sent_to_a_server_without_starttls_when_it_is_required(own):
    with Post() as post:
        stack = own(Serve, *options(post.url), "--webhookd.mail_starttls=required")
        disable(stack, ["ops@example.com"])
        until(lambda: mails(stack, "failed") >= 1, "the failure is counted")
        assert not post.letters and not post.tried


def test_a_tenant_causes_no_more_letters_in_a_day_than_it_may(own):
    with Post() as post:
        stack = own(Serve, *options(post.url, "--webhookd.mail_per_day=2"))
        client = stack.tenant(plan="unlimited", scopes=SCOPES)
        endpoint, _ = disable(stack, ["a@example.com", "b@example.com", "c@example.com"], client=client)
        assert {x.recipients[0] for x in letters_about(post, endpoint, 2)} == {"a@example.com", "b@example.com"}
        disable(stack, ["a@example.com"], client=client)
        until(lambda: mails(stack, "withheld") == 2, "what was withheld is counted")
        other, _ = disable(stack, ["d@example.com"])
        letters_about(post, other, 1)
        assert len(post.letters) == 3


def test_contacts_are_checked_and_can_be_cleared(mailing):
    client = mailing.tenant(plan="unlimited", scopes=SCOPES)
    for wrong in ("no address", "a@b\r\nBcc: c@d", "ä@example.com", "<a@example.com>", "a@-example.com", "a@@b"):
        refused = client.post("/v1/webhooks", {"url": "http://127.0.0.1:9/", "contacts": ["a@example.com", wrong]})
        assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == "/contacts/1", refused.text
    six = client.post("/v1/webhooks", {"url": "http://127.0.0.1:9/", "contacts": [f"a{n}@example.com" for n in range(6)]})
    assert six.status_code == 400
    made = client.post("/v1/webhooks", {"url": "http://127.0.0.1:9/", "contacts": ["a@example.com"]}).json()["endpoint"]
    assert made["contacts"] == ["a@example.com"]
    path = f"/v1/webhooks/{made['id']}"
    assert client.patch(path, {"contacts": ["b@example.com"]}).json()["contacts"] == ["b@example.com"]
    assert "contacts" not in client.patch(path, {"contacts": None}).json()


@pytest.mark.parametrize("flags, wrong", [
    (["--webhookd.mail_url=smtp://user:hidden@h"], "webhookd.mail_from"),
    (["--webhookd.mail_url=http://user:hidden@h", "--webhookd.mail_from=a@example.com"], "webhookd.mail_url"),
    (["--webhookd.mail_url=smtp://h", "--webhookd.mail_from=Corbel"], "webhookd.mail_from")])
def test_options_that_do_not_fit_together_are_named_before_the_start(flags, wrong):
    ran = subprocess.run([BIN / "corbel", "serve", "--check-config", *flags], capture_output=True, text=True)
    assert ran.returncode == 2 and wrong in ran.stderr and "hidden" not in ran.stderr
