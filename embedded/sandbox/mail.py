"""The SMTP side: takes every message, and breaks when a fault says so."""

from __future__ import annotations

import asyncio
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, Envelope, Session

from embedded.sandbox.inbox import Inbox


class MailHandler:
    """aiosmtpd's hooks; what they return is the server's answer."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_MAIL(  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = self._inbox.faults.next_of_kind("smtp", "refuse", "hang")
        if fault and fault.kind == "hang":
            await asyncio.sleep(fault.hold_s)
        if fault:
            return "451 4.3.0 Sandbox refuses for now"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._inbox.faults.next_of_kind("smtp", "reject"):
            return "550 5.1.1 Sandbox knows no such mailbox"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        fault = self._inbox.faults.next_of_kind("smtp", "drop_after_data", "accept_and_hang")
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = message_from_bytes(content, policy=policy.default)
        body, html = message.get_body(("plain", "html")), message.get_body(("html",))
        for recipient in envelope.rcpt_tos:
            self._inbox.mail(
                str(message["Message-ID"] or ""),
                envelope.mail_from or "",
                recipient,
                str(message["Subject"] or ""),
                str(body.get_content()) if body else "",
                {name: str(value) for name, value in message.items()},
                str(html.get_content()) if html else "",
            )
        if fault and fault.kind == "accept_and_hang":
            await asyncio.sleep(fault.hold_s)
        if fault and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return "250 OK"
