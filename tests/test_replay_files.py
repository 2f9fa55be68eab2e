"""Replay: files as they come, packed, in other encodings, as JSON arrays and Parquet."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.decode.excel import excel_time
from lakehouse.user_error import UserError
from producers import text_file
from producers.layout import Layout
from producers.progress import progress
from producers.reading import read
from tests.test_replay import CSV, HEADER, JSON, csv_lines, file, orders, sent
from tests.test_shoppers import FakeClock


def zstd(data: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return bytes(packed.getvalue().to_pybytes())


def put(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refused(path: Path, **layout: Any) -> str:
    with pytest.raises(UserError) as refusal:
        read(path, Layout.of(path, **layout))
    words = str(refusal.value)
    assert path.name in words
    assert "\n" not in words
    return words


# Encodings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_text_is_read_in_the_encoding_that_is_named(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path, "orders.csv", CSV.replace("ann", "Zoë").encode(encoding))
    found = orders(sent(read(path, Layout.of(path, encoding=encoding))))
    assert sorted(order.user_id for order in found) == ["Zoë", "Zoë", "bob"]


def test_a_wrong_encoding_is_said_with_the_line(tmp_path: Path) -> None:
    path = put(tmp_path, "orders.csv", CSV.replace("bob", "Zoë").encode("cp1252"))
    assert "line 3: byte 0xEB is not UTF-8; say the file's encoding by --encoding" in refused(path)
    undefined = put(tmp_path, "undefined.csv", CSV.replace("bob", "b?b").encode().replace(b"?", b"\x81"))
    assert "line 3: byte 0x81 is not cp1252" in refused(undefined, encoding="cp1252")
    wide = put(tmp_path, "wide.csv", CSV.encode("utf-16"))
    assert "line 1 begins with the mark of utf-16" in refused(wide)
    unmarked = put(tmp_path, "unmarked.csv", CSV.encode("utf-16-le"))
    assert "line 1: a zero character" in refused(unmarked)
    half = put(tmp_path, "half.csv", CSV.encode() + "ë".encode()[:1])
    assert "line 5: byte 0xC3 is not UTF-8" in refused(half)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "undefined"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(UserError, match=f"--encoding is '{encoding}'.*cp1252"):
        csv_lines(tmp_path, CSV, encoding=encoding)


# Packed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstd, lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])]
)
def test_a_packed_file_is_the_file_in_it(tmp_path: Path, pack: Any) -> None:
    plain = csv_lines(tmp_path, CSV)
    # Told by its first bytes, whatever it is called.
    for name in ("orders.csv.gz", "orders.csv"):
        path = put(tmp_path, name, pack(CSV.encode()))
        assert read(path, Layout.of(path)).bodies == plain.bodies


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_packed_file_that_is_cut_or_damaged_sends_nothing(tmp_path: Path, pack: Any) -> None:
    whole = pack(CSV.encode() * 500)
    for name, data in (("cut", whole[:-9]), ("short", whole[:30])):
        assert "packed is cut or damaged" in refused(put(tmp_path, f"{name}.csv", data))


def test_a_packed_file_holds_no_more_than_it_may(tmp_path: Path) -> None:
    bomb = put(tmp_path, "bomb.csv.gz", gzip.compress(CSV.encode() + b"\n" * (4 << 20)))
    assert "more than 0.001 GiB once it is unpacked; if that is right, give --unpack-at-most" in refused(
        bomb, unpack_at_most=0.001
    )
    assert len(read(bomb, Layout.of(bomb)).times) == 3


def test_a_line_without_an_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "LONGEST", 100_000)
    endless = put(tmp_path, "endless.csv", CSV.encode() + b"x" * 200_000)
    assert "line 5 is longer than" in refused(endless)
    nested = put(tmp_path, "endless.json", b'{"a":"' + b"x" * 200_000)
    assert "line 1 is longer than" in refused(nested)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04....", "a zip archive or an Excel workbook; unpack it"),
        (b"BZh91AY", "packed by bzip2"),
        (b"PAR1....", "a Parquet file; give it by --format parquet"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path: Path, data: bytes, says: str) -> None:
    assert says in refused(put(tmp_path, "orders.csv", data))


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "orders.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(CSV.encode()),), daemon=True)
    writer.start()
    found = read(pipe, Layout.of(pipe))
    writer.join(10)
    assert len(found.times) == 3


# JSON arrays ----------------------------------------------------------------------------------------------------------


def test_a_json_array_is_read_element_by_element(tmp_path: Path) -> None:
    elements = [json.loads(JSON) | {"order_id": str(number), "note": "x" * 40} for number in range(3_000)]
    for number, text in enumerate(
        (json.dumps(elements), json.dumps(elements, indent=1), f"\n {json.dumps(elements)}\n")
    ):
        path = file(tmp_path, text, f"{number}.json")
        found = read(path, Layout.of(path))
        assert len({order.order_id for order in orders(sent(found))}) == 3_000
        assert found.told == ["Not used: 'note'."]
    lines = file(tmp_path, JSON + "\n" + JSON, "lines.json")
    assert len(read(lines, Layout.of(lines)).times) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"[{JSON},{JSON}", "element 2 (line 1): the file ends behind it, within the array"),
        (f"[{JSON},\n{JSON[:-5]}", "element 2 (line 2): the file ends within it"),
        (f"[{JSON},", "element 2 (line 1): the file ends within it, ''"),
        (f"[{JSON} {JSON}]", "element 1 (line 1): '{' follows it, and no ',' or ']'"),
        (f"[{JSON},\n oops, {JSON}]" + " " * 100, "element 2 (line 2): 'oops, {"),
        (f"[{JSON}]\n[]", "line 2: '[' follows the array"),
        (f"[{JSON}, 12]", "element 2 (line 1): '12' is no JSON object"),
        (f"[{JSON},\n{JSON.replace('1', '-1')}]", "element 2 (line 2), field 'quantity': value '-1'"),
        ("[" * 100_000, "element 1 (line 1): '[[["),
        ("[]", "holds no line of data"),
        ('"orders"', "'[' is missing before the first element"),
        ("", "'[' is missing"),
    ],
)
def test_a_json_array_that_is_cut_or_wrong_is_refused_with_its_element(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(file(tmp_path, text, "orders.json"))


# Parquet --------------------------------------------------------------------------------------------------------------


def parquet(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "orders.parquet"
    given = {
        "user_id": pa.array([7, 8]),
        "product_id": pa.array(["a", "b"]).dictionary_encode(),
        "quantity": pa.array([2, 1], pa.int16()),
        "price": pa.array([Decimal("10.0050"), Decimal("99999999999999.9999")], pa.decimal128(18, 4)),
        "status": pa.array(["CREATED", "SHIPPED"], pa.large_string()),
        "order_time": pa.array([1_764_410_400_123_456_789, 1_764_410_400_000_000_000], pa.timestamp("ns")),
    }
    pq.write_table(pa.table(given | columns), path, compression="zstd")
    return path


def test_parquet_is_read_to_the_last_digit(tmp_path: Path) -> None:
    path = parquet(tmp_path, note=pa.array([[{"a": 1}], []]), blob=pa.array([1, 2], pa.duration("s")))
    found = read(path, Layout.of(path))
    second, first = orders(sent(found))
    assert (first.price, first.order_total) == (Decimal("10.0050"), Decimal("20.01"))
    assert second.price == Decimal("99999999999999.9999")
    assert (first.user_id, first.product_id, second.status) == ("7", "a", "SHIPPED")
    assert first.order_ts == datetime(2025, 11, 29, 10, 0, 0, 123456, UTC)
    assert found.told == ["Not used: 'blob', 'note'.", found.told[1]]
    assert read(path, Layout.of(path)).bodies == found.bodies


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (
            pa.array([1_764_410_400_000] * 2, pa.timestamp("ms", "Europe/Berlin")),
            datetime(2025, 11, 29, 10, tzinfo=UTC),
        ),
        (pa.array([1_764_410_400] * 2, pa.timestamp("s")), datetime(2025, 11, 29, 10, tzinfo=UTC)),
        (pa.array([date(2025, 11, 29)] * 2), datetime(2025, 11, 29, tzinfo=UTC)),
        (pa.array([b"2025-11-29"] * 2), datetime(2025, 11, 29, tzinfo=UTC)),
    ],
    ids=["zone", "seconds", "date", "bytes"],
)
def test_parquet_has_times_of_many_kinds(tmp_path: Path, times: pa.Array, first: datetime) -> None:
    path = parquet(tmp_path, order_time=times)
    assert {order.order_ts for order in orders(sent(read(path, Layout.of(path))))} == {first}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"quantity": pa.array([1, 2], pa.duration("s"))}, "column 'quantity' is duration[s], of which no quantity"),
        ({"price": pa.array([1.5, float("nan")])}, "row 2, field 'price': value 'nan'"),
        ({"price": pa.array([[1], [2]])}, "row 1, field 'price': value '[1]': price is a list"),
        (
            {"order_time": pa.array([10**15, 0], pa.timestamp("s"))},
            "row 1, field 'order_time': value '1000000000000000000 ms since 1970'",
        ),
        ({"order_time": pa.array([1, 2])}, "row 1, field 'order_time': value '1'"),
        ({"user_id": pa.array(["a", None])}, "row 2, field 'user_id': user_id is missing"),
    ],
)
def test_parquet_of_odd_types_is_refused_with_column_and_row(
    tmp_path: Path, columns: dict[str, Any], says: str
) -> None:
    assert says in refused(parquet(tmp_path, **columns))


def test_a_file_that_is_no_parquet_or_half_of_one_is_refused(tmp_path: Path) -> None:
    whole = parquet(tmp_path).read_bytes()
    for data in (whole[:-20], b"", b"PAR1" * 10, CSV.encode()):
        assert "cannot be read as Parquet" in refused(put(tmp_path, "bad.parquet", data))


def test_a_float_of_32_bits_is_what_it_says(tmp_path: Path) -> None:
    path = parquet(tmp_path, price=pa.array([9.99, 0.1], pa.float32()))
    assert {order.price for order in orders(sent(read(path, Layout.of(path))))} == {Decimal("9.99"), Decimal("0.1")}


# Excel and commas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serial", "moment"),
    [
        ("40513.3507", datetime(2010, 12, 1, 8, 25, 0, 480_000, UTC)),
        ("40513.351388888891", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),  # 08:26, as a double has it
        ("1", datetime(1900, 1, 1, tzinfo=UTC)),
        ("59.5", datetime(1900, 2, 28, 12, tzinfo=UTC)),
        ("61", datetime(1900, 3, 1, tzinfo=UTC)),
        ("2958465", datetime(9999, 12, 31, tzinfo=UTC)),
    ],
)
def test_excel_counts_days_from_1900(serial: str, moment: datetime) -> None:
    assert excel_time(serial) == moment


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("60.25", "is 29 February 1900 to Excel, a day that never was"),
        ("0.5", "is not within 1"),
        ("2958466", "is not within 1"),
        ("1.12.2010 08:26", "is no number of days as Excel counts them, like 40513.3507"),
        ("NaN", "is no number of days"),
        ("", "is no number of days"),
        ("2958465.9999999999", "lies after the year 9999"),
    ],
)
def test_an_excel_date_that_is_none_is_refused(tmp_path: Path, cell: str, says: str) -> None:
    path = file(tmp_path, CSV.replace("2026-11-23T10:00:00Z", cell))
    assert f"line 2, column 'order_time': '{cell}' {says}" in refused(path, date_format="excel")


def test_excel_dates_and_decimal_commas_are_read_together(tmp_path: Path) -> None:
    text = f"{HEADER.replace(',', ';')}\n1;ann;p;2;1.234,50;CREATED;40513,351388888891\n2;bob;p;1.000;5;CREATED;40513\n"
    found = orders(sent(csv_lines(tmp_path, text, delimiter=";", decimal_comma=True, date_format="excel")))
    assert [(order.quantity, order.price, order.order_ts.hour) for order in found] == [
        (1000, Decimal("5"), 0),
        (2, Decimal("1234.50"), 8),
    ]
    number = '{"user_id":"a","product_id":"p","quantity":1,"price":"1,5","status":"CREATED","order_time":40513.5}'
    path = file(tmp_path, number, "orders.jsonl")
    (order,) = orders(sent(read(path, Layout.of(path, decimal_comma=True, date_format="excel"))))
    assert (order.price, order.order_ts) == (Decimal("1.5"), datetime(2010, 12, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize("price", ["5.00", "1.23,4", "12.34.567,8", "1,2,3", ",", "1,-"])
def test_with_a_decimal_comma_no_other_number_is_guessed(tmp_path: Path, price: str) -> None:
    path = file(tmp_path, CSV.replace(",", ";").replace("9.99", "9,99").replace(";5;", f";{price};"))
    assert f"line 3, column 'price': value '{price}" in refused(path, delimiter=";", decimal_comma=True)


# How far it is --------------------------------------------------------------------------------------------------------


def test_without_a_terminal_a_line_now_and_then_tells_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    with progress("orders.csv sent", 100_000, clock) as advance:
        for _ in range(25):
            clock.sleep(1)
            advance(1_000)
    assert capsys.readouterr().err.splitlines() == [
        "orders.csv sent: 10,000 of 100,000 lines, 1,000 a second, 90 s left",
        "orders.csv sent: 20,000 of 100,000 lines, 1,000 a second, 80 s left",
    ]


def test_how_far_a_large_file_is_looked_at_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(FakeClock):
        def passed(self) -> float:
            self.sleep(6)
            return super().passed()

    monkeypatch.setattr(text_file, "_LARGE", 1 << 20)
    path = put(tmp_path, "orders.csv", CSV.encode() + b"\n" * (3 << 20))
    read(path, Layout.of(path), clock=Slow())
    assert "orders.csv looked at: 2 of 3 MiB, " in capsys.readouterr().err


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    with progress("orders.csv read", 10, FakeClock()) as advance:
        advance(10)
    assert "orders.csv read" in shown.getvalue()
    assert "10/10" in shown.getvalue()
