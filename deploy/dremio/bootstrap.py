"""Makes a fresh Dremio ready for tillwatch: python deploy/dremio/bootstrap.py

1. wait until its REST port says that it is up
2. sign in; where Dremio has no user yet, make the first one
3. make the Nessie source that our tables lie in
4. ask one question through Arrow Flight, as every reader does

Each step looks first and leaves alone what is there: it may run again, and against a Dremio set up by hand.
Paths and answers: https://docs.dremio.com/current/reference/api/, and for apiv2, which is not described there,
BootstrapResource, LogInLogOutResource and NoUserFilter in https://github.com/dremio/dremio-oss.
"""

from __future__ import annotations

import argparse
import logging
import re
import signal
import time
from urllib.parse import urlsplit

from dremio_rest import Rest, RestAnswer, WaitBudget
from dremio_source import provide_source
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import AuthError, DremioError, Timeout, Unavailable
from lakehouse.logs import log_to_stderr
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.settings import NessieSettings, S3Settings

logger = logging.getLogger("tillwatch.dremio")


_USER_IS_THERE = "First user can only be created when no user is already registered"


def wait_until_up(rest: Rest) -> None:
    answer = rest.ask("GET", "/apiv2/server_status")
    if answer.status != 200:
        raise rest.refusal(answer, "name Dremio's REST port with --rest")
    logger.info("Dremio at %s is up", rest.address)


def sign_in(rest: Rest, settings: DremioSettings) -> None:
    """Sign in first: a Dremio that knows the user is asked to change nothing.

    A login is refused alike where there is no user (403) and where the password is another one (401), more or less by
    version. Only Dremio itself tells the two apart for certain: it makes a first user, or says that there is one.
    """
    answer = _login(rest, settings)
    if answer.status in (401, 403):
        _make_first_user(rest, settings)
        answer = _login(rest, settings)
        if answer.status in (401, 403):
            raise UserError(
                f"Dremio at {rest.address} has users and does not let '{settings.user}' in with the password given; "
                "set TILLWATCH_DREMIO_USER and TILLWATCH_DREMIO_PASSWORD (or TILLWATCH_DREMIO_PASSWORD_FILE) "
                "to those of its administrator."
            )
    if answer.status != 200:
        raise rest.refusal(answer, "see Dremio's log")
    token = str(answer.fields.get("token") or "")
    if not re.fullmatch(r"[!-~]+", token):
        raise rest.no_dremio(answer, "a token")
    rest.token = token
    logger.info("signed in as '%s'", settings.user)


def _login(rest: Rest, settings: DremioSettings) -> RestAnswer:
    password = settings.password.get_secret_value()
    return rest.ask("POST", "/apiv2/login", {"userName": settings.user, "password": password}, secret=password)


def _make_first_user(rest: Rest, settings: DremioSettings) -> None:
    password = settings.password.get_secret_value()
    user = {
        "userName": settings.user,
        "firstName": "tillwatch",
        "lastName": "tillwatch",
        "email": "tillwatch@localhost",
        "createdAt": time.time_ns() // 1_000_000,
        "password": password,
    }
    answer = rest.ask("PUT", "/apiv2/bootstrap/firstuser", user, secret=password)
    if answer.status == 200:
        logger.info("made the first user '%s'", settings.user)
    elif _USER_IS_THERE in answer.said:
        logger.info("Dremio has a user already; none was made")
    else:
        raise rest.refusal(
            answer,
            f"the first user is to be '{settings.user}': "
            "mend TILLWATCH_DREMIO_USER or TILLWATCH_DREMIO_PASSWORD (or TILLWATCH_DREMIO_PASSWORD_FILE)",
        )


def prove(settings: DremioSettings, patience: WaitBudget) -> None:
    """One question as every reader asks. Flight may come up later than REST."""
    with Dremio(settings) as dremio:
        while True:
            try:
                commit = dremio.head()
            except (Unavailable, Timeout) as error:
                patience.wait(str(error).rstrip("."))
            except AuthError as error:
                raise UserError(str(error)) from None
            except DremioError as error:
                raise UserError(
                    f"{settings.uri} cannot answer SHOW BRANCHES IN {CATALOG}: {str(error).rstrip('.')}; "
                    "look at that source in Dremio."
                ) from None
            else:
                break
    logger.info("%s answers: main of %s is at commit %s", settings.uri, CATALOG, commit)


def main(arguments: list[str] | None = None, *, pause_s: float = 1.0) -> None:
    parser = argparse.ArgumentParser(
        prog="python deploy/dremio/bootstrap.py",
        description="Makes a fresh Dremio ready: its first user, the Nessie source of our tables, and a question as "
        "proof. What is there already is left alone. Sections dremio, nessie and s3 of the settings.",
    )
    parser.add_argument(
        "--rest", metavar="URL", help="Dremio's REST port; default: http://HOST:9047 with the host of dremio.uri"
    )
    parser.add_argument("--within", metavar="SPAN", default="10 min", help="most time to wait; default: 10 min")
    parser.add_argument("--only-question", action="store_true", help="only ask the question, by Arrow Flight")
    given = parser.parse_args(arguments)
    log_to_stderr()
    with exit_on_user_error():
        patience = WaitBudget(given.within, pause_s)
        settings = DremioSettings.load()
        if not given.only_question:
            address = given.rest or f"http://{urlsplit(settings.uri).hostname}:9047"
            rest = Rest(address.rstrip("/"), patience)
            nessie, s3 = NessieSettings.load(), S3Settings.load()
            wait_until_up(rest)
            sign_in(rest, settings)
            provide_source(rest, nessie, s3)
        prove(settings, patience)


if __name__ == "__main__":
    # As the first process of a container it would not hear SIGTERM else.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("tillwatch: stopped before Dremio was ready; run this again.") from None
