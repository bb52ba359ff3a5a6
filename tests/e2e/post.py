"""A receiver of e-mail: a real SMTP server that keeps what it got, and answers as it is told."""
import email
import email.policy
import ssl
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from stack import free_port


class Letter:
    """One message that arrived."""

    def __init__(self, envelope, is_secure):
        self.sender, self.recipients, self.raw = envelope.mail_from, envelope.rcpt_tos, envelope.content
        self.is_secure = is_secure
        self.message = email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def text(self):
        return self.message.get_content()


class Post:
    """with Post() as post: post.url, post.letters. `to(address)` and `data(letter)` answer the recipient and the
    content, each with a reply such as "550 no"; both may be set at any time. With `pair` (certificate, key) there is
    STARTTLS, and with `users` (name to password) nothing is taken without AUTH."""

    def __init__(self, pair=None, users=None, port=None):
        self.letters, self.tried = [], []
        self.to = self.data = lambda _: "250 OK"
        self.changed = threading.Condition()
        options = {}
        if pair:
            options["tls_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            options["tls_context"].load_cert_chain(*pair)
            options["require_starttls"] = True
        if users:
            def check(server, session, envelope, mechanism, data):
                good = users.get(data.login.decode()) == data.password.decode()
                return AuthResult(success=good, handled=False)
            options.update(authenticator=check, auth_required=True)
        self.port = port or free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self.url = f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.tried.append(address)
        answer = self.to(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        letter = Letter(envelope, session.ssl is not None)
        answer = self.data(letter)
        if answer.startswith("250"):
            with self.changed:
                self.letters.append(letter)
                self.changed.notify_all()
        return answer

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *exc):
        self.controller.stop()

    def wait(self, condition, what, timeout_s=60):
        """Until condition(letters) holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.letters), timeout_s), \
                f"{what}: not within {timeout_s} s; got {len(self.letters)} letters"
        return self.letters
