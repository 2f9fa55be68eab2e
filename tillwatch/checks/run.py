"""All checks, in order, and how what they find is told. A new one is a line of CHECKS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from lakehouse.settings.base import Shared
from lakehouse.user_error import UserError
from notifier.channels import CHANNELS
from notifier.links import check_links
from pipeline.batch.terms import Terms
from tillwatch.checks.questions import unanswerable
from tillwatch.checks.reach import unreached
from tillwatch.checks.shop import Shop


def links(shop: Shop) -> Iterator[str]:
    """Addresses that messages would hold and that open for nobody."""
    settings, rules = shop.notifier.value, shop.rules.value
    if settings is not None and rules is not None and shop.channels.value is not None:
        real = [name for name, declared in CHANNELS.items() if declared.is_on(settings) and declared.real(settings)]
        yield from _sentences(lambda: check_links(settings.console_url, rules, real))


def ingest(shop: Shop) -> Iterator[str]:
    """What else would stop ingest: spans that do not go together, KPI tables with another query than is declared."""
    if not shop.settings.wrong and shop.rules.value is not None:
        yield from _sentences(lambda: Terms.load(Shared.load()))


CHECKS: Sequence[tuple[str, Callable[[Shop], Iterable[str]]]] = (
    ("settings", lambda shop: shop.settings.wrong),
    ("channels", lambda shop: shop.channels.wrong),
    ("people", lambda shop: shop.people.wrong),
    ("rules", lambda shop: shop.rules.wrong),
    ("routes", lambda shop: shop.routing.wrong),
    ("rules beside routes", unreached),
    ("links", links),
    ("ingest", ingest),
    ("questions of rules", unanswerable),
)
"""What is looked at, by name: each gives a sentence for each mistake, and hides none of another."""


def look() -> tuple[Shop, dict[str, str]]:
    """What was looked at, and the sentences of all that is wrong, each with the name of what found it."""
    shop = Shop()
    found: dict[str, str] = {}
    for name, wrong in CHECKS:
        for sentence in wrong(shop):
            found.setdefault(" ".join(sentence.split()), name)
    return shop, found


def run(as_json: bool) -> bool:
    """Print what is wrong; whether nothing is."""
    shop, found = look()
    if as_json:
        mistakes = [{"sentence": said, "check": name, **_place(said, shop)} for said, name in found.items()]
        print(json.dumps({"folder": str(shop.folder), "mistakes": mistakes, "notes": shop.notes}, indent=2))
        return not found
    for sentence in found:
        print(sentence)
    for note in shop.notes:
        print(f"note: {note}")
    looked = ", ".join(name for name, _ in CHECKS)
    count = f"{len(found)} {'mistake' if len(found) == 1 else 'mistakes'}" if found else "Nothing is wrong"
    print(f"{count} in {shop.folder} ({looked}).")
    return not found


def _place(sentence: str, shop: Shop) -> dict[str, str | int]:
    """The file and line that a sentence names."""
    found = re.search(rf"({re.escape(str(shop.folder))}/[^,]+), line (\d+)", sentence)
    return {"file": found[1], "line": int(found[2])} if found else {}


def _sentences(do: Callable[[], object]) -> Iterator[str]:
    try:
        do()
    except UserError as error:
        yield from error.sentences
