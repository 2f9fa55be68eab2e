"""A wrong config/sources.yaml is told in one sentence: file, line, source, key, value, and a near name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.sources import load_sources, sources_of
from lakehouse.user_error import UserError

MAP = """
  map:
    order_id: id
    user_id: customer.id
    product_id: sku
    quantity: n
    price: price
    status: status
    order_time: at
"""
TOP = "shop:\n  topic: orders_topic\n"


def with_field(field: str, how: str) -> str:
    """A right source but for one field, which stands in line 4."""
    kept = [line for line in MAP.strip("\n").splitlines() if not line.strip().startswith(f"{field}:")]
    return TOP + "\n".join([kept[0], f"    {field}: {how}", *kept[1:]]) + "\n"


# By what is wrong: the file, the line that is told (0: none), and what is said of it.
WRONG = {
    "no YAML": (
        "shop: [",
        0,
        "sources.yaml cannot be read: it is not YAML: ",
    ),
    "a list": (
        "- shop",
        0,
        "sources.yaml, line 1: it holds no `name:` lines with sources under them; add them.",
    ),
    "no source": (
        "shop:",
        1,
        "'shop' holds no `key: value` lines; add them.",
    ),
    "a name": (
        "'a shop': {topic: orders_topic}",
        1,
        "'a shop' is no name of a source; use letters",
    ),
    "an unknown key": (
        f"{TOP}  enveloppe: plain\n{MAP}",
        3,
        "the key 'enveloppe' is unknown (did you mean 'envelope'?)",
    ),
    "no topic": (
        f"shop:{MAP}",
        1,
        "the key 'topic' is missing; add it with one of orders_topic, clicks_topic",
    ),
    "another topic": (
        f"shop:\n  topic: order_topic\n{MAP}",
        2,
        "'topic' is 'order_topic' (did you mean 'orders_topic'?); expected one of",
    ),
    "reads no name": (
        f"{TOP}  reads: shop orders\n{MAP}",
        3,
        "'reads' is 'shop orders', no name of a topic; use letters, digits",
    ),
    "reads twice": (
        f"{TOP}  reads: [a, a]\n{MAP}",
        3,
        "'reads' names 'a' twice; leave one out.",
    ),
    "reads none": (
        f"{TOP}  reads: []\n{MAP}",
        3,
        "'reads' is an empty list; fill it or leave it out.",
    ),
    "an envelope": (
        f"{TOP}  envelope: debzium\n{MAP}",
        3,
        "'envelope' is 'debzium' (did you mean 'debezium'?); expected one of plain, debezium",
    ),
    "no flag": (
        f"{TOP}  registry: 5\n{MAP}",
        3,
        "'registry' is '5'; expected true or false.",
    ),
    "a compression": (
        f"{TOP}  compression: snappy\n{MAP}",
        3,
        "'compression' is 'snappy'; expected one of auto, none, gzip, zstd.",
    ),
    "an unknown field": (
        f"{TOP}{MAP}    quantitty: n\n",
        12,
        "the field of orders_topic 'quantitty' is unknown (did you mean 'quantity'?)",
    ),
    "a field is missing": (
        TOP + MAP.replace("    status: status\n", ""),
        4,
        "the field 'status' is missing, which orders_topic needs; add it.",
    ),
    "event_id in the map": (
        f"{TOP}{MAP}    event_id: id\n",
        12,
        "'event_id' stands beside `map:`, not in it; move it.",
    ),
    "no path": (
        with_field("price", '"a..b"'),
        4,
        "'a..b' is no path; write one like customer.id",
    ),
    "an index": (
        with_field("price", '"lines[x].price"'),
        4,
        "'lines[x].price' is no path",
    ),
    "a list without each": (
        with_field("price", '"lines[].price"'),
        4,
        "'lines[].price' goes through every element of lines; write `each: lines` for an event of "
        "each element, or lines[0] for the first.",
    ),
    "another list than each": (
        with_field("price", '"rows[].p"') + "  each: lines\n",
        4,
        "'rows[].p' goes through every element of rows; `each` is lines: correct one, or rows[0] for the first.",
    ),
    "each is no path": (
        f"{TOP}  each: '[x]'\n{MAP}",
        3,
        "'each' is '[x]', no path; write one like items",
    ),
    "no origin": (
        with_field("price", "{minor: 2}"),
        4,
        "'price' says not where its value comes from; expected one of path, first, value, text, number.",
    ),
    "two origins": (
        with_field("price", "{path: a, value: 2}"),
        4,
        "'price' has 'path' and 'value'; expected one of path, first",
    ),
    "an unknown key of a field": (
        with_field("price", "{path: a, minr: 2}"),
        4,
        "the key 'minr' is unknown (did you mean 'minor'?)",
    ),
    "a constant that is none of the choices": (
        with_field("status", "{value: CREATE}"),
        4,
        "'status' is 'CREATE', not one of CREATED PROCESSING SHIPPED DELIVERED CANCELLED (did you mean 'CREATED'?).",
    ),
    "a constant of another type": (
        with_field("quantity", "1.5"),
        4,
        "'quantity' is 1.5, expected a whole number.",
    ),
    "a constant that YAML reads otherwise": (
        with_field("order_time", "2026-01-01"),
        4,
        "'order_time' is a date to YAML; write it in quotes.",
    ),
    "a constant with more": (
        with_field("status", "{value: CREATED, table: {a: CREATED}}"),
        4,
        "'status' is a constant, which nothing else changes; leave the other keys out.",
    ),
    "a wrong value in a table": (
        with_field("status", "{path: s, table: {done: DELIVERD}}"),
        4,
        "'done' is 'DELIVERD', not one of CREATED PROCESSING SHIPPED DELIVERED CANCELLED (did you mean 'DELIVERED'?).",
    ),
    "an empty table": (
        with_field("status", "{path: s, table: {}}"),
        4,
        "'table' holds no `key: value` lines; add them.",
    ),
    "a default that does not fit": (
        with_field("status", "{path: s, default: NEW}"),
        4,
        "'default' is 'NEW', not one of CREATED",
    ),
    "a unit of time": (
        with_field("order_time", "{path: t, epoch: millis}"),
        4,
        "'epoch' is 'millis'; expected one of s, ms, us, ns, days, excel.",
    ),
    "a form of time": (
        with_field("order_time", "{path: t, time: 'dd/mm/yy'}"),
        4,
        "'time' is 'dd/mm/yy', which reads no day; expected a form of strptime like '%d/%m/%Y %H:%M'.",
    ),
    "two kinds of time": (
        with_field("order_time", "{path: t, epoch: s, time: '%Y%m%d'}"),
        4,
        "'epoch' and 'time' do not go together; leave one out.",
    ),
    "a zone": (
        with_field("order_time", "{path: t, zone: Europe/Berln}"),
        4,
        "'zone' is 'Europe/Berln', no zone (did you mean 'Europe/Berlin'?); expected one like Europe/Berlin.",
    ),
    "doubtful": (
        with_field("order_time", "{path: t, doubtful: later}"),
        4,
        "'doubtful' is 'later'; expected one of first, second, reject.",
    ),
    "a time's key on an amount": (
        with_field("price", "{path: p, epoch: s}"),
        4,
        "'epoch' goes with times, and price is none; leave it out.",
    ),
    "an amount's key on a count": (
        with_field("quantity", "{path: p, minor: 2}"),
        4,
        "'minor' goes with amounts, and quantity is none; leave it out.",
    ),
    "minor": (
        with_field("price", "{path: p, minor: cents}"),
        4,
        "'minor' is 'cents'; expected a whole number, 0 to 8.",
    ),
    "decimal": (
        with_field("price", "{path: p, decimal: ';'}"),
        4,
        "'decimal' is ';'; expected one of ., ,.",
    ),
    "one sign for both": (
        with_field("price", "{path: p, thousands: '.'}"),
        4,
        "'.' cannot stand before decimals and between thousands; correct one.",
    ),
    "thousands": (
        with_field("price", "{path: p, thousands: x}"),
        4,
        "'thousands' is 'x'; expected one of . , ' _ or a blank.",
    ),
    "no sign": (
        with_field("price", "{path: p, sign: '5'}"),
        4,
        "'sign' is '5'; expected what stands beside an amount, like €, US$, kr. or EUR.",
    ),
    "a sign that YAML takes for no text": (
        with_field("price", "{path: p, sign: NO}"),
        4,
        "'sign' is 'False'; expected what stands beside an amount, like €, US$, kr. or EUR.",
    ),
    "a sign of a count": (
        with_field("quantity", "{path: p, sign: €}"),
        4,
        "'sign' goes with amounts, and quantity is none; leave it out.",
    ),
    "text without a path": (
        with_field("user_id", "{text: abc}"),
        4,
        "'text' is 'abc'; expected paths in braces, as in '{customer.id}-{number}'.",
    ),
    "arithmetic that ends": (
        with_field("price", "{number: 'a /'}"),
        4,
        "'number' ends where a path or a number is expected.",
    ),
    "arithmetic with a sign": (
        with_field("price", "{number: 'a ^ 2'}"),
        4,
        "'number' has '^ 2', which is no path, number or one of + - * / ( ).",
    ),
    "arithmetic with a brace": (
        with_field("price", "{number: '(a + 1'}"),
        4,
        "'number' has a '(' without its ')'.",
    ),
    "arithmetic without a path": (
        with_field("price", "{number: '1 + 1'}"),
        4,
        "'number' reads no path; write `value:` for a constant.",
    ),
    "arithmetic that is long": (
        with_field("price", "{number: '" + "(" * 301 + "'}"),
        4,
        "'number' is 301 characters long; 300 are the most.",
    ),
    "select is no mapping": (
        f"{TOP}  select: [op]\n{MAP}",
        3,
        "'select' holds no `key: value` lines; add them.",
    ),
    "an unknown test": (
        f"{TOP}  select: {{n: {{over: 5}}}}\n{MAP}",
        3,
        "the key 'over' is unknown",
    ),
    "a test of no number": (
        f"{TOP}  select: {{n: {{above: five}}}}\n{MAP}",
        3,
        "'above' is 'five'; expected a number.",
    ),
    "a test of no path": (
        f"{TOP}  select: {{'a..b': 1}}\n{MAP}",
        3,
        "'a..b' is no path",
    ),
    "a test of nothing": (
        f"{TOP}  select: {{a: []}}\n{MAP}",
        3,
        "'a' is no value; write a value, [one, another], or {above: 0}.",
    ),
}


@pytest.mark.parametrize(("text", "line", "says"), WRONG.values(), ids=WRONG)
def test_one_sentence_says_what_is_wrong_and_where(text: str, line: int, says: str) -> None:
    with pytest.raises(UserError) as raised:
        sources_of(text, "sources.yaml")
    sentence = str(raised.value)
    assert says in sentence
    assert f", line {line}" in sentence or not line
    assert sentence.startswith("sources.yaml")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_the_same_source_but_for_the_mistake_is_right() -> None:
    assert list(sources_of(TOP + MAP, "sources.yaml").sources) == ["shop"]
    assert list(sources_of(with_field("price", "{path: p, minor: 2}"), "sources.yaml").sources) == ["shop"]


def test_the_file_lies_beside_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tillwatch.yaml").write_text("", encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "tillwatch.yaml"))
    assert load_sources().sources == {}
    (tmp_path / "sources.yaml").write_text(TOP + MAP, encoding="utf-8")
    assert list(load_sources().sources) == ["shop"]
    with pytest.raises(UserError, match=r"other.yaml cannot be read: No such file"):
        load_sources(tmp_path / "other.yaml")
    (tmp_path / "sources.yaml").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"sources.yaml cannot be read: it is not UTF-8 text"):
        load_sources()
