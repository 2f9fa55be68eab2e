"""Where the data and the ledger are, and how messages are written here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.user_error import Unreachable
from notifier.ledger import file
from notifier.render import Style
from notifier.settings import NotifierSettings

NO_CHANNEL = "No channel is set up: nobody would be told of anything."


def style_of(settings: NotifierSettings) -> Style:
    return Style(settings.console_url, ZoneInfo(settings.timezone))


def ledger_path() -> Path:
    return Shared.load().data_dir / file.NAME


@contextmanager
def the_data() -> Iterator[Dremio]:
    """The way to the tables. Raises Unreachable where they cannot be asked."""
    with Dremio(DremioSettings.load()) as dremio:
        try:
            yield dremio
        except DremioError as error:
            raise Unreachable(str(error)) from None
