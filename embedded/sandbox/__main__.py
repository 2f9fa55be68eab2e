"""`python -m embedded.sandbox`: the page and all APIs on 5008, SMTP on 5010, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging

import uvicorn

from embedded.sandbox.app import create_app
from embedded.sandbox.breaking import Protocol
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.settings import SandboxSettings
from lakehouse.logs import log_to_stderr
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.ports import claim_port
from lakehouse.user_error import exit_on_user_error

logger = logging.getLogger("sandbox")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m embedded.sandbox",
        description="Stand-in for Slack, a mail server, PagerDuty and webhooks: shows what arrived, breaks on demand.",
    )
    parser.parse_args(arguments)
    log_to_stderr("mail.log")  # aiosmtpd tells each command of each session
    with exit_on_user_error():
        shared = Shared.load()
        settings = SandboxSettings.load()
        for name in ("sandbox", "smtp"):
            claim_port(shared.port(name), host=settings.host)
        data_dir = open_data_dir(shared.data_dir, "embedded", "stack")
        inbox = Inbox(data_dir / "sandbox.db", settings.keep_messages)
    logger.info("http://localhost:%d shows what arrived; mail on port %d", shared.port("sandbox"), shared.port("smtp"))
    uvicorn.run(
        create_app(
            inbox, shared.port("smtp"), settings.host, webhook_secret=settings.webhook_secret.get_secret_value()
        ),
        host=settings.host,
        port=shared.port("sandbox"),
        http=Protocol,
        loop="asyncio",
        ws="websockets-sansio",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    inbox.close()


if __name__ == "__main__":
    main()
