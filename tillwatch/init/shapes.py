"""Is a message an order, or a line of one; and where does the order's total stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal

from lakehouse.user_error import UserError
from tillwatch.init.choices import MessageShape
from tillwatch.init.columns import SampleColumn
from tillwatch.init.numbers import Signs, numbers_of
from tillwatch.init.sample import Sample

type Amounts = Sequence[Decimal | None]
type Rows = Sequence[tuple[Decimal | None, Decimal | None]]
"""Of each line its column of totals, and price times quantity."""

_CENT = Decimal("0.01")


def shape_of(
    sample: Sample, paths: Mapping[str, str], line_total: str, signs: Signs, grain: str | None
) -> MessageShape:
    """paths: the column of each field; line_total: that of an element's amount, or empty. grain: what was said.

    Raises UserError where the grain that was said cannot be.
    """
    columns = sample.columns.by_path
    found = {name: columns[path] for name, path in paths.items() if path in columns}
    if line_total or any(column.of_elements for column in found.values()):
        return _of_lists(sample, found, columns.get(line_total), signs, grain)
    return _of_rows(sample, found, signs, grain)


def _of_lists(
    sample: Sample, found: Mapping[str, SampleColumn], line_total: SampleColumn | None, signs: Signs, grain: str | None
) -> MessageShape:
    price, total = found.get("price"), found.get("order_total")
    priced = line_total is not None or (price is not None and price.of_elements)
    if not priced or total is None:
        if grain is not None and grain != ("line" if priced else "order"):
            missing = "--total PATH, that of the whole order" if priced else "--map price=PATH, that of an element"
            raise UserError(f"--grain is {grain}, and nothing says its amount; name it by {missing}.")
        return MessageShape.EACH if priced else MessageShape.WHOLE
    if grain is not None:
        return MessageShape.EACH if grain == "line" else MessageShape.WHOLE
    lines = iter(numbers_of(line_total, signs) if line_total else _products(price, found.get("quantity"), signs))
    add_up = [
        _same([next(lines) for _ in range(size)], whole)
        for whole, size in zip(numbers_of(total, signs), sample.columns.sizes, strict=True)
    ]
    return MessageShape.EACH if all(add_up) else MessageShape.WHOLE


def _of_rows(sample: Sample, found: Mapping[str, SampleColumn], signs: Signs, grain: str | None) -> MessageShape:
    number = found.get("order_id")
    if number is None or len(number.distinct) == len(number.given):
        return MessageShape.LINE if grain == "line" else MessageShape.ORDER
    if _is_history(sample, found):
        return MessageShape.ORDER
    orders = _by_order(number, found, signs)
    of_whole = _of_whole(orders)
    if of_whole is None:
        if grain == "order":
            raise UserError(
                f"--grain is order, and the lines of one {number.path} have amounts of their own, of which none is the "
                "order's; say line, or name the column of the order's total by --total."
            )
        return MessageShape.LINE
    # Where the lines add up to the totals, nothing is lost by telling lines, and products are told right.
    add_up = all(
        _same([amount for _, amount in rows], next((whole for whole, _ in rows if whole is not None), None))
        for rows in orders
    )
    return MessageShape.LINE if grain == "line" or (grain is None and add_up) else of_whole


def _by_order(number: SampleColumn, found: Mapping[str, SampleColumn], signs: Signs) -> list[Rows]:
    """The lines of each order."""
    nothing: Amounts = [None] * len(number.values)
    price, total = found.get("price"), found.get("order_total")
    amounts = _products(price, found.get("quantity"), signs) if price is not None else nothing
    totals = numbers_of(total, signs) if total is not None else nothing
    orders: dict[str, list[tuple[Decimal | None, Decimal | None]]] = defaultdict(list)
    for key, row in zip(number.values, zip(totals, amounts, strict=True), strict=True):
        orders[str(key)].append(row)
    return list(orders.values())


def _of_whole(orders: Sequence[Rows]) -> MessageShape | None:
    """Where the total of a whole order stands; None where totals are those of lines, or there are none."""
    several = [rows for rows in orders if len(rows) > 1]
    totals = [[whole for whole, _ in rows] for rows in several]
    if all(rows[0] is not None and not any(whole is not None for whole in rows[1:]) for rows in totals):
        return MessageShape.FIRST
    of_lines = all(whole is not None and _same([amount], whole) for rows in several for whole, amount in rows)
    if all(rows[0] is not None and len(set(rows)) == 1 for rows in totals) and not of_lines:
        return MessageShape.REPEATED
    return None


def _is_history(sample: Sample, found: Mapping[str, SampleColumn]) -> bool:
    """Whether messages of one order are its states, one after the other."""
    status, product = found.get("status"), found.get("product_id")
    if sample.tabular or status is None:
        return False
    states = defaultdict[str, list[object]](list)
    articles = defaultdict[str, set[object]](set)
    for place, key in enumerate(found["order_id"].values):
        states[str(key)].append(status.values[place])
        articles[str(key)].add(product.values[place] if product is not None else None)
    return all(len(set(each)) == len(each) for each in states.values()) and all(len(e) == 1 for e in articles.values())


def drops_total(sample: Sample, shape: MessageShape, paths: Mapping[str, str], signs: Signs) -> bool:
    """Whether the column of totals says the whole order's, and the events are lines."""
    if shape is not MessageShape.LINE or not {"order_total", "price", "order_id"} <= paths.keys():
        return False
    columns = sample.columns.by_path
    found = {name: columns[path] for name, path in paths.items() if path in columns}
    orders = _by_order(columns[paths["order_id"]], found, signs)
    return any(len(rows) > 1 for rows in orders) and _of_whole(orders) is not None


def _products(price: SampleColumn | None, quantity: SampleColumn | None, signs: Signs) -> list[Decimal | None]:
    """What each line costs."""
    if price is None:
        return []
    prices = numbers_of(price, signs)
    pieces: Amounts = numbers_of(quantity, signs) if quantity is not None else [Decimal(1)] * len(prices)
    if len(pieces) != len(prices):
        pieces = [Decimal(1)] * len(prices)
    return [None if one is None or count is None else one * count for one, count in zip(prices, pieces, strict=True)]


def _same(lines: Amounts, whole: Decimal | None) -> bool:
    """Whether lines add up to the whole, to the cent."""
    if whole is None:
        return False
    total = Decimal()
    for line in lines:
        if line is None:
            return False
        total += line.quantize(_CENT, ROUND_HALF_UP)
    return total == whole.quantize(_CENT, ROUND_HALF_UP)
