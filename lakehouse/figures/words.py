"""A figure beside what is usual, in a line of text and a line of blocks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from lakehouse.figures.usual import LONGEST, Comparison
from lakehouse.rules.figure import MONEY, AlertFigure

BLOCKS = "▁▂▃▄▅▆▇█"
UNKNOWN = "·"
"""A minute of which nobody knows."""
NOT_KNOWN = "usual: n/a"


def bars(values: Sequence[float | None]) -> str:
    """A block for each value, scaled to the largest; the lowest one is nothing at all."""
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(UNKNOWN if value is None else BLOCKS[_height(value, most)] for value in values)


def _height(value: float, most: float) -> int:
    if value <= 0:
        return 0
    # Something is told apart from nothing, however little it is.
    return 1 + min(len(BLOCKS) - 2, int((len(BLOCKS) - 1) * (value / most)))


def standing_text(
    figure: AlertFigure, compared: Comparison | None, limit: float | None, zone: tzinfo, currency: str
) -> str:
    """How an open incident stands: "82 errors a minute, limit 60, usually 11; 214 more than usual since 02:51".

    limit: of its alert, None without one. zone: of times. currency: the sign before sums of money.
    """
    said = standing(figure, compared, limit, currency)
    return "; ".join(words if at is None else f"{words} {at.astimezone(zone):%H:%M}" for words, at in said)


def standing(
    figure: AlertFigure, compared: Comparison | None, limit: float | None, currency: str
) -> list[tuple[str, datetime | None]]:
    """The same in parts, each with the time that stands behind its words."""
    if compared is None or (compared.value is None and compared.usual is None):
        return [(NOT_KNOWN, None)]
    rate = " a minute" if figure.adds_up else ""
    if compared.value is None:
        assert compared.usual is not None
        return [(f"usually {_counted(compared.usual, figure, currency)}{rate}", None)]
    parts = [f"{_counted(compared.value, figure, currency)}{rate}"]
    if figure.limited and limit is not None:
        parts.append(f"limit {_amount(limit, figure, currency)}")
    if compared.usual is None:
        return [(", ".join([*parts, NOT_KNOWN]), None)]
    text = ", ".join([*parts, f"usually {_amount(compared.usual, figure, currency)}"])
    off = _off(figure, compared)
    if off is None:
        return [(text, None)]
    more = f"{_amount(off, figure, currency)} {_word(figure)} than usual"
    if compared.whole:
        return [(text, None), (f"{more} since", compared.since)]
    return [(text, None), (f"{more} in the last {LONGEST // 60} h", None)]


def in_all_text(figure: AlertFigure, compared: Comparison | None, currency: str) -> str:
    """What an incident that is over has come to: "214 orders fewer than usual in all"; empty where it is nothing."""
    if compared is None or compared.usual is None:
        return NOT_KNOWN
    off = _off(figure, compared)
    if off is None:
        return ""
    when = "in all" if compared.whole else f"in its last {LONGEST // 60} h"
    return f"{_counted(off, figure, currency)} {_word(figure)} than usual {when}"


def _off(figure: AlertFigure, compared: Comparison) -> float | None:
    """How much was short, or over, as far as it is what the alert is about, and as much as one."""
    if compared.off is None:
        return None
    off = -compared.off if figure.fewer else compared.off
    whole = float(round(off))
    return whole if whole >= 1 else None


def _word(figure: AlertFigure) -> str:
    if not figure.fewer:
        return "more"
    return "less" if figure.unit == MONEY else "fewer"


def _amount(value: float, figure: AlertFigure, currency: str) -> str:
    """12.5 as 12, 3.14 as 3.1; money with its sign, and with cents up to 100."""
    if figure.unit == MONEY:
        return f"{'−' if value < 0 else ''}{currency}{abs(value):,.{2 if abs(value) < 100 else 0}f}"
    return f"{value:,.0f}" if abs(value) >= 9.95 else f"{value:.1f}".removesuffix(".0")


def _counted(value: float, figure: AlertFigure, currency: str) -> str:
    text = _amount(value, figure, currency)
    if figure.unit == MONEY:
        return text
    return f"{text} {figure.unit.removesuffix('s') if text == '1' else figure.unit}"
