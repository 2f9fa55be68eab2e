"""Email by SMTP: one recipient a transaction, a Message-ID that a second attempt repeats."""

from __future__ import annotations

import re
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from notifier.channel import (
    Absent,
    Broken,
    ChannelSettings,
    Dead,
    DeclaredChannel,
    Finding,
    Outcome,
    Retry,
    Sent,
    Sought,
    Unknown,
    half_set_up,
)
from notifier.manner import TELLS, Manner
from notifier.model import MessageKind
from notifier.render import TITLE_LIMIT, Notification, as_html, as_text
from notifier.text import header_text, line

# ValueError: a host name or an address that no server can be told of.
FAILURES = (OSError, smtplib.SMTPException, ValueError)
RECIPIENT = "the recipient"
SENDER = "the sender"
_NO_SUCH_ADDRESS = re.compile(r"5\.1\.(1|2|3|6|10)\b")


# Dot-atoms of RFC 5322 and a host name: what every mail server takes, also one that knows no SMTPUTF8.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@.{{1,253}}$){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")

type Security = Literal["starttls", "tls", "none"]


def _sender(value: str) -> str:
    if value and not _ADDRESS.fullmatch(value):
        raise ValueError("expected an address like alerts@shop.example, in ASCII")
    return value


def _recipients(value: Any) -> Any:
    if isinstance(value, str):
        value = [address.strip() for address in value.split(",") if address.strip()]
    wrong = [address for address in value or () if not _ADDRESS.fullmatch(str(address))]
    if wrong:
        raise ValueError(f"'{wrong[0]}' is no address; expected one like oncall@shop.example, in ASCII")
    return tuple(dict.fromkeys(value or ()))


class EmailSettings(ChannelSettings):
    """A mail server, a sender and recipients; without the server email is off."""

    smtp_host: str = Field("", description="mail server; empty: no email")
    smtp_port: int = Field(587, ge=1, le=65535, description="its port")
    smtp_security: Security = Field(
        "starttls", description="starttls (required, never without), tls from the start, or none (sandbox only)"
    )
    smtp_user: str = Field("", description="user name; empty: no login")
    smtp_password: SecretStr = Field(SecretStr(""), description="password; better given as *_FILE")
    smtp_timeout_s: float = Field(15.0, gt=0, le=120, description="for each step of a mail, in seconds")
    email_from: Annotated[str, AfterValidator(_sender)] = Field("", description="sender's address")
    email_to: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_recipients)] = Field(
        (), description="recipients, a list or with commas"
    )


class Email:
    """One mail server and sender. The receipt is the Message-ID."""

    name = "email"
    # There is nowhere to look an email up: what may have been taken is sent again under the same Message-ID.
    settle_s = 1.0
    per_s = None
    # Nobody wants a mail for each of a hundred services; one that says how many there are comes now and then.
    manner = Manner(TELLS - {MessageKind.CLEARED}, digest_every_ms=300_000, storm_after=3)

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        recipients: tuple[str, ...],
        *,
        security: Security = "starttls",
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

    def send(self, destination: str, note: Notification) -> Outcome:
        mail = self._mail(destination, note)
        try:
            server = self._connect()
        except FAILURES as error:
            return Broken(self._why_not(error), whole=True) if _to_mend(error) else Retry(self._why_not(error))
        try:
            return self._transaction(server, destination, mail)
        finally:
            server.close()

    def find(self, destination: str, sought: Sought) -> Finding:
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
            case smtplib.SMTPResponseException():
                return _refusal(error.smtp_code, error.smtp_error, "the connection")
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
                (SENDER, server.mail(self._sender)),
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
        if code < 0:
            return Unknown(f"{self._where} answered the message with what is no answer.")
        if not 200 <= code < 300:
            return _answered(code, answer, "the message")
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
        return Sent(str(mail["Message-ID"]))

    def _mail(self, destination: str, note: Notification) -> EmailMessage:
        subject = subject_of(note)
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
        mail.set_content(as_text(note) + "\n", cte="quoted-printable")
        mail.add_alternative(as_html(note), subtype="html", cte="quoted-printable")
        return mail


def _answered(code: int, answer: bytes | str, what: str) -> Outcome:
    """Dead only when the address is known not to exist (RFC 3463's X.1.1 to X.1.3, .6, .10); another refusal for good
    has to be mended by somebody, a temporary one by itself."""
    sentence = _refusal(code, answer, what)
    known_wrong = what == RECIPIENT and code >= 500 and _NO_SUCH_ADDRESS.match(_text(answer))
    if known_wrong:
        return Dead(sentence)
    return Broken(sentence, whole=what == SENDER) if code >= 500 else Retry(sentence)


def _to_mend(error: Exception) -> bool:
    """Whether a connection fails by what somebody has to mend: refused for good, a login, a server without STARTTLS."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code >= 500
    return isinstance(error, smtplib.SMTPNotSupportedError)


def _refusal(code: int, answer: bytes | str, what: str) -> str:
    return f"Mail server refuses {what}: {code} {line(_text(answer), 200)}."


def _text(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def _words(error: Exception) -> str:
    return line(str(error), 300).rstrip(".") or type(error).__name__


def subject_of(note: Notification) -> str:
    """An answer's says so, and what is: FIRING or RESOLVED."""
    return header_text(f"Re: {note.subject}" if note.root else note.subject, TITLE_LIMIT + 10)


def _is_near(host: str) -> bool:
    """Whether it is this machine, or one of its own network, as containers name each other: without a dot."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return "." not in host


def _half(settings: EmailSettings) -> str | None:
    if settings.smtp_host and not settings.email_from:
        return half_set_up("smtp_host", "email_from", "the sender's address")
    if settings.smtp_host and not settings.email_to:
        return half_set_up("smtp_host", "email_to", "one or more recipients' addresses")
    if settings.email_to and not settings.smtp_host:
        return half_set_up("email_to", "smtp_host", "the mail server's name")
    if settings.smtp_security == "none" and not _is_near(settings.smtp_host):
        return (
            f"Setting 'notifier.smtp_security' is none, and {settings.smtp_host} is another machine: passwords and "
            "alerts would go there in the clear; set TILLWATCH_NOTIFIER_SMTP_SECURITY to starttls or tls."
        )
    if bool(settings.smtp_user) != bool(settings.smtp_password.get_secret_value()):
        given, missing = ("smtp_user", "smtp_password") if settings.smtp_user else ("smtp_password", "smtp_user")
        return half_set_up(given, missing, "the other half of the login")
    return None


def _open(settings: EmailSettings) -> Email:
    return Email(
        settings.smtp_host,
        settings.smtp_port,
        settings.email_from,
        settings.email_to,
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
        timeout_s=settings.smtp_timeout_s,
    )


def _show(note: Notification) -> Mapping[str, Any]:
    return {"subject": subject_of(note), "text": as_text(note), "html": as_html(note)}


def _real(settings: EmailSettings) -> bool:
    return settings.smtp_security != "none"


CHANNEL = DeclaredChannel(EmailSettings, switch="smtp_host", half=_half, open=_open, real=_real, show=_show)
