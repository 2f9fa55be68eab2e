"""Email by SMTP: one recipient a transaction, a Message-ID that a second attempt repeats."""

from __future__ import annotations

import re
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from notifier.channels import Absent, Dead, Finding, Outcome, Retry, Sent, Unknown
from notifier.render import Message, as_email
from notifier.text import line

# ValueError: a host name or an address that no server can be told of.
FAILURES = (OSError, smtplib.SMTPException, ValueError)
RECIPIENT = "the recipient"
_NO_SUCH_ADDRESS = re.compile(r"5\.1\.(1|2|3|6|10)\b")


class Email:
    """One mail server and sender. The receipt is the Message-ID."""

    name = "email"
    # There is nowhere to look an email up: what may have been taken is sent again under the same Message-ID.
    settle_s = 1.0
    per_s = None

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        recipients: tuple[str, ...],
        *,
        security: Literal["starttls", "tls", "none"] = "starttls",
        user: str = "",
        password: str = "",
        timeout_s: float = 15.0,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self.destinations = recipients
        self._host = host
        self._port = port
        self._sender = sender
        self._security = security
        self._user = user
        self._password = password
        self._timeout_s = timeout_s
        self._tls = tls

    def send(self, destination: str, note: Message) -> Outcome:
        mail = self._mail(destination, note)
        try:
            server = self._connect()
        except FAILURES as error:
            return Retry(self._why_not(error))
        try:
            return self._transaction(server, destination, mail)
        finally:
            server.close()

    def find(self, destination: str, delivery_key: str, root: str | None, since_ms: int) -> Finding:
        return Absent()

    def check(self) -> str | None:
        try:
            server = self._connect()
        except FAILURES as error:
            return self._why_not(error)
        server.close()
        return None

    def message_id(self, delivery_key: str) -> str:
        """The same for every attempt of a delivery."""
        return f"<{delivery_key[:40]}@{self._sender.rpartition('@')[2]}>"

    @property
    def _where(self) -> str:
        return f"Mail server {self._host}:{self._port}"

    def _why_not(self, error: Exception) -> str:
        match error:
            case smtplib.SMTPNotSupportedError():
                return f"{self._where} {_words(error)}."
            case smtplib.SMTPAuthenticationError():
                return _refusal(error.smtp_code, error.smtp_error, "the login")
            case smtplib.SMTPException():
                return f"{self._where} does not let us in: {_words(error)}."
        return f"{self._where} cannot be reached: {_words(error)}."

    def _connect(self) -> smtplib.SMTP:
        """A connection that is encrypted and logged in as the settings say."""
        if self._security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=self._tls()
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        try:
            server.ehlo_or_helo_if_needed()
            if self._security == "starttls":
                if not server.has_extn("starttls"):
                    raise smtplib.SMTPNotSupportedError("offers no STARTTLS, and nothing is sent without it")
                server.starttls(context=self._tls())
                server.ehlo()
            if self._user:
                self._login(server)
        except BaseException:
            server.close()
            raise
        return server

    def _login(self, server: smtplib.SMTP) -> None:
        if not server.has_extn("auth"):
            raise smtplib.SMTPNotSupportedError("offers no login, but notifier.smtp_user is set")
        if (self._user + self._password).isascii():
            server.login(self._user, self._password)
            return
        # smtplib knows ASCII only; PLAIN is UTF-8 (RFC 4616).
        if "PLAIN" not in str(server.esmtp_features["auth"]).upper().split():
            raise smtplib.SMTPNotSupportedError(
                "offers no AUTH PLAIN, the one login that takes a user or a password that is not ASCII"
            )
        both = b64encode(f"\0{self._user}\0{self._password}".encode()).decode()
        code, answer = server.docmd("AUTH", f"PLAIN {both}")
        if code not in (235, 503):
            raise smtplib.SMTPAuthenticationError(code, answer)

    def _transaction(self, server: smtplib.SMTP, destination: str, mail: EmailMessage) -> Outcome:
        try:
            # By hand: sendmail tells of a refused recipient in a dict, and hides how far it came.
            for step, (code, answer) in (
                ("the sender", server.mail(self._sender)),
                (RECIPIENT, server.rcpt(destination)),
            ):
                if code not in (250, 251):
                    return _answered(code, answer, step)
        except FAILURES as error:
            return Retry(f"{self._where} broke off before the message: {_words(error)}.")
        try:
            code, answer = server.data(mail.as_bytes(policy=policy.SMTP))
        except smtplib.SMTPDataError as error:
            return _answered(error.smtp_code, error.smtp_error, "the message")
        except (OSError, smtplib.SMTPException) as error:
            return Unknown(f"{self._where} gave no answer to the message: {_words(error)}.")
        if code != 250:
            return _answered(code, answer, "the message")
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
        return Sent(str(mail["Message-ID"]))

    def _mail(self, destination: str, note: Message) -> EmailMessage:
        subject, text, html = as_email(note)
        mail = EmailMessage()
        # EmailMessage loses blanks where it folds encoded words; Header does not, and its text is kept as it is.
        mail.set_raw("Subject", Header(subject, None if subject.isascii() else "utf-8", header_name="Subject").encode())
        mail["From"] = Address("tillwatch", addr_spec=self._sender)
        mail["To"] = Address(addr_spec=destination)
        mail["Date"] = format_datetime(note.planned_at)
        mail["Message-ID"] = self.message_id(note.delivery_key)
        if note.root:
            mail["In-Reply-To"] = note.root
            mail["References"] = note.root
        mail["Auto-Submitted"] = "auto-generated"
        # Quoted-printable keeps every line under SMTP's 1,000 bytes, whatever an alert says.
        mail.set_content(text, cte="quoted-printable")
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
        return mail


def _answered(code: int, answer: bytes | str, what: str) -> Outcome:
    """Dead only when the address is known not to exist (RFC 3463's X.1.1 to X.1.3, .6, .10): all else may be mended."""
    sentence = _refusal(code, answer, what)
    known_wrong = what == RECIPIENT and code >= 500 and _NO_SUCH_ADDRESS.match(_text(answer))
    return Dead(sentence) if known_wrong else Retry(sentence)


def _refusal(code: int, answer: bytes | str, what: str) -> str:
    return f"Mail server refuses {what}: {code} {line(_text(answer), 200)}."


def _text(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def _words(error: Exception) -> str:
    return line(str(error), 300).rstrip(".") or type(error).__name__
