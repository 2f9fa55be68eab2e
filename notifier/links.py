"""Links that people get must open where they are: none to this machine, none to an example's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from lakehouse.rules import Rule
from lakehouse.user_error import UserError

_NOBODYS = re.compile(
    r"localhost|.*\.localhost|127(\.\d+){3}|0\.0\.0\.0|::1|(.+\.)?example(\.(com|net|org))?|(.+\.)?(invalid|test)",
    re.IGNORECASE,
)
"""This machine, and what RFC 2606 keeps for examples."""


def is_nobodys(url: str) -> bool:
    """Whether only this machine, or nobody at all, answers at an address."""
    return _NOBODYS.fullmatch(urlsplit(url).hostname or "") is not None


def check_links(console_url: str, rules: Iterable[Rule], real: Sequence[str]) -> None:
    """Raises UserError where messages would hold such a link. real: channels that reach people, who would get it."""
    if not real:
        return
    by = " and ".join(real)
    if is_nobodys(console_url):
        raise UserError(
            f"Setting 'notifier.console_url' is '{console_url}', which opens for nobody who is told by {by}; set "
            "TILLWATCH_NOTIFIER_CONSOLE_URL to the console's address as people reach it."
        )
    wrong = [rule.name for rule in rules if rule.runbook_url and is_nobodys(rule.runbook_url)]
    if wrong:
        raise UserError(
            f"In config/alerts.yaml the runbook_url of {', '.join(wrong)} opens for nobody who is told by {by}; write "
            "your own address there, or leave the key out."
        )
