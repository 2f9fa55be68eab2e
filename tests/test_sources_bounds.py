"""However large, deep or wrong a message of a source is: it is one dead letter, and stops nothing else."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from datetime import timedelta

import pyarrow as pa
import pytest

from lakehouse.decode import Event, Message, Reason, Rejected
from lakehouse.sources import sources_of
from lakehouse.sources.envelope import MOST_INFLATED
from lakehouse.sources.letters import LETTER_BYTES, MOST_LETTERS
from lakehouse.sources.reading import MOST_ELEMENTS
from tests.source_cast import RECEIVED, YAML, kinds, packed

SOURCES = sources_of(YAML, "config/sources.yaml")
LINE = {"sku": "mug", "n": 2, "sum": "25,00"}


def lines(count: int, **more: object) -> bytes:
    head = {"number": "N", "customer": {"id": "u"}, "placed": "27.11.2024 10:14:05,0", **more}
    return packed(head | {"lines": [LINE] * count})


def read(log_topic: str, value: bytes | None) -> tuple[Event | Rejected, ...]:
    return SOURCES.decoder(log_topic, timedelta(days=15))(Message(value, RECEIVED))


def one(log_topic: str, value: bytes | None) -> Rejected:
    (found,) = read(log_topic, value)
    assert isinstance(found, Rejected)
    return found


def test_ten_thousand_elements_are_events_and_one_more_is_one_dead_letter() -> None:
    assert len(read("shop_lines", lines(MOST_ELEMENTS))) == MOST_ELEMENTS
    found = one("shop_lines", lines(MOST_ELEMENTS + 1))
    assert (found.reason, found.detail) == (
        Reason.BAD_VALUE,
        "lines has 10,001 elements; a message may have 10,000",
    )


def test_elements_of_lists_in_lists_are_counted_together() -> None:
    fields = {"error_id": "a[].b[].id", "service_name": "s", "error_message": "s", "severity": {"value": "WARN"}}
    text = json.dumps({"x": {"topic": "errors_topic", "each": "a[].b", "map": fields | {"error_time": "t"}}})
    source = sources_of(text, "sources.yaml").named("x")
    head = {"s": "pay", "t": "2024-11-27T09:14:05Z"}
    found = source.read(packed(head | {"a": [{"b": [{"id": 1}, {"id": None}]}, {"b": []}, {}, {"b": [{"id": 2}]}]}))
    assert [each.error_id if isinstance(each, Event) else each.detail for each in found] == [
        "1",
        "error_id (a[0].b[1].id) is null",
        "a[2].b is missing",
        "2",
    ]
    (found_one,) = source.read(packed(head | {"a": [{"b": [{"id": 1}] * 5_000}] * 3}))
    assert isinstance(found_one, Rejected)
    assert found_one.detail == "a[1].b has 5,000 elements; a message may have 10,000"


def test_a_map_that_fits_no_element_leaves_a_bounded_number_of_dead_letters() -> None:
    found = read("shop_lines", lines(2_000, customer=None))
    assert len(found) == MOST_LETTERS
    last = found[-1]
    assert isinstance(last, Rejected)
    assert last.detail == "user_id (customer.id) is missing; so are 1,900 more elements of the message"
    padded = lines(2_000, customer=None, note="x" * (LETTER_BYTES // 2))
    assert len(read("shop_lines", padded)) == 1, "each keeps the message's bytes"


def test_ten_megabytes_are_read_and_what_is_skipped_is_no_matter() -> None:
    held = json.loads(kinds()["epoch milliseconds"].value)
    assert read("shop_millis", packed(held | {"note": "x" * 10_000_000})) == kinds()["epoch milliseconds"].orders
    deep = packed(held)[:-1] + b', "note": ' + b"[" * 1_000 + b"]" * 1_000 + b"}"
    assert len(read("shop_millis", deep)) == 1


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_depth_is_one_dead_letter_at_most(depth: int) -> None:
    nested = b'{"order": ' + b'{"a": ' * depth + b"1" + b"}" * depth + b"}"
    assert one("shop_millis", nested).reason in (Reason.NOT_JSON, Reason.MISSING_FIELD)


def test_a_small_message_that_inflates_to_much_is_refused_before_it_does() -> None:
    gzipped = zlib.compressobj(9, wbits=31)
    bomb = b"".join(gzipped.compress(b" " * (1 << 20)) for _ in range(200)) + gzipped.flush()
    assert len(bomb) < 300_000
    assert "become over 32 MiB" in one("shop_millis", bomb).detail
    stream = io.BytesIO()
    with pa.CompressedOutputStream(stream, "zstd") as zstd:
        for _ in range(200):
            zstd.write(b" " * (1 << 20))
        zstd.flush()
        written = stream.getvalue()
    assert len(written) < MOST_INFLATED // 100
    assert "become over 32 MiB" in one("shop_millis", written).detail


def test_zstd_is_found_by_its_first_bytes_and_what_is_cut_is_told() -> None:
    kind = kinds()["epoch milliseconds"]
    whole = pa.Codec("zstd").compress(kind.value, asbytes=True)
    assert read("shop_millis", whole) == kind.orders
    for cut in (whole[:-3], gzip.compress(kind.value)[:-9], b"\x1f\x8b\x08 no"):
        assert one("shop_millis", cut).reason is Reason.NOT_JSON


def test_gzip_of_several_streams_is_one_body_and_of_too_many_none() -> None:
    kind = kinds()["epoch milliseconds"]
    half = len(kind.value) // 2
    assert read("shop_millis", gzip.compress(kind.value[:half]) + gzip.compress(kind.value[half:])) == kind.orders
    many = gzip.compress(kind.value) + gzip.compress(b"") * 50_000
    assert one("shop_millis", many).detail == f"its {len(many)} bytes are not whole gzip"


ODD = [None, b"", b" ", b"null", b"5", b"[]", b"{}", b"{", b"\xff", b"\0", b"\0\0\0\0\x01", b'{"a": NaN}', b'"\\ud800"']


@pytest.mark.parametrize("log_topic", SOURCES.feeds)
@pytest.mark.parametrize("value", ODD)
def test_whatever_comes_is_left_out_or_one_dead_letter(log_topic: str, value: bytes | None) -> None:
    found = read(log_topic, value)
    assert len(found) <= 1
    assert all(isinstance(each, Rejected) for each in found)


def test_numbers_that_no_machine_holds_are_not_calculated_with() -> None:
    for number in ("1e999999999", "-1e400", "1e-999999999", "9" * 5_000):
        value = b'{"id": "p", "customer": "u", "product": "m", "units": 1, "amount": %b, "created": "2024-11-27"}'
        assert one("shop_cents", value % number.encode()).reason is Reason.BAD_VALUE
