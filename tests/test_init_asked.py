"""`tillwatch init`: six questions, and what is refused; then nothing is written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from tests.init_cast import PIXEL, SAMPLES, Given, init, refused, sources
from tillwatch.init import command as module
from tillwatch.init import folder

HEAD = b"order_id,placed,customer,total\n1,2026-03-02 12:00,ada,5\n2,2026-03-02 12:00,bob,6.5\n"


def test_six_questions_have_the_guesses_as_their_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "at_terminal", lambda: True)
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    done = init(tmp_path / "asked", "--sample", sample, answers="\n" * 6)
    assert done.exit_code == 0, (done.output, done.exception)
    asked = [line for line in done.output.splitlines() if line[:2] in [f"{number}." for number in range(1, 10)]]
    assert [line.rpartition(" [")[2] for line in asked] == [
        "orders]: ", "order_id]: ", "placed, UTC]: ", "total]: ", "customer]: ", "order]: "
    ]  # fmt: skip
    assert init(tmp_path / "guessed", "--sample", sample, "--yes").exit_code == 0
    assert {**sources(tmp_path / "asked")["orders"], "zone": None} == {
        **sources(tmp_path / "guessed")["orders"],
        "zone": None,
    }


def test_an_answer_that_will_not_do_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "at_terminal", lambda: True)
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    answers = "order\norders\norderid\norder_id\nplaced, Europe/Berln\nplaced, Europe/Berlin\ntotal, EUR\n-\nline\n"
    done = init(tmp_path / "config", "--sample", sample, answers=answers)
    assert done.exit_code == 0, (done.output, done.exception)
    assert (
        "   'order' is none of orders, clicks, errors, refunds (did you mean 'orders'?); say one of them."
        in done.output
    )
    assert "'orderid', which" in done.output
    assert "(did you mean 'order_id'?)" in done.output
    assert "   'Europe/Berln' is no zone (did you mean 'Europe/Berlin'?); say one like Europe/Berlin." in done.output
    source = sources(tmp_path / "config")["orders"]
    assert (source["zone"], source["guests"], "user_id" in source["map"]) == ("Europe/Berlin", True, False)
    settings = yaml.safe_load((tmp_path / "config" / "tillwatch.yaml").read_text(encoding="utf-8"))
    assert settings["orders"] == {"grain": "line", "currency": "EUR"}


@pytest.mark.parametrize("answers", ["", "orders\n", "orders\norder_id\nplaced\ntotal\ncustomer\n"])
def test_questions_that_are_left_write_nothing(answers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "at_terminal", lambda: True)
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    assert refused(tmp_path / "config", "--sample", sample, answers=answers) == (
        "It was ended before the last question; nothing was written."
    )


def test_without_a_terminal_the_flags_that_are_missing_are_named(tmp_path: Path) -> None:
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    said = ["--topic", "orders", "--id", "order_id", "--customer", "-", "--grain", "order"]
    assert refused(tmp_path / "config", "--sample", sample, *said) == (
        "There is no terminal to ask at: say --time placed --total total (as guessed), or --yes to take the guesses."
    )
    assert init(tmp_path / "config", "--sample", sample, *said, "--time", "placed", "--total", "total").exit_code == 0


# ---- what is refused

LOOKS = "Nothing in {folder}/a.csv looks like "


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "a.csv is empty; give a message of your shop, or the first lines of its CSV."),
        ("a.csv", b" \n\n", "a.csv is empty; "),
        ("a.csv", PIXEL, "a.csv is no text: it has zero bytes; give JSON, CSV or Parquet."),
        ("a.xlsx", b"PK\x03\x04\0\0rest", "a.xlsx is a zip archive or an Excel workbook; unpack it, or save"),
        ("a.csv", b"order_id,date,total\n", "a.csv has no line of data behind its first one, which names the columns"),
        ("a.csv", b"1,2026-03-02,5\n2,2026-03-02,6\n", "a.csv, line 1: '2026-03-02' is no name of a column, so"),
        ("a.txt", b"orders\nof\ntoday\n", "a.txt is no JSON, and no ',', ';', '\\t', '|' stands between columns"),
        ("a.json", b"{", "a.json, line 1: NOT_JSON, "),
        ("a.json", b"[1, 2]", "a.json, element 1 (line 1): NOT_JSON, not an object; correct the message."),
        ("a.json", b"{}", "a.json holds no message with names and values in it; give one that does."),
        ("a.json", b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "a.json"),
        ("a.csv", b"colour,date,total\nred,2026-03-02,5\n", f"{LOOKS}the id of orders; name it by "
         "--id COLUMN, or by --id _line where each line is one. It has colour, date, total."),
        ("a.csv", b"order_id,colour,total\n1,red,5\n", f"{LOOKS}the time of orders; name it by "
         "--time COLUMN."),
        ("a.csv", b"order_id,date,total\n1,2026-03-02,five\n", f"{LOOKS}the amount of orders ('total' has "
         "'five', which is no number); name it by --total COLUMN."),
        ("a.csv", b"order_id,date,colour\n1,2026-03-02,red\n", f"{LOOKS}the amount of orders; name it "
         "by --total COLUMN."),
        ("a.csv", b"order_id,date,price\n1,2026-03-02,5\n2,2026-03-02,-5\n", "a.csv, line 3: BAD_VALUE, price is -5, "
         "below 0. Nothing was written; say otherwise by a flag (--help), or leave such lines to be dead letters by"),
        ("a.csv", b"order_id,date,total\n1,2,3,4\n2,2026-03-02,5\n", "a.csv, line 2: there are 4 columns, "),
    ],
)  # fmt: skip
def test_a_sample_that_says_too_little_is_refused_in_a_sentence(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    sample = Given(name, content, 0, Decimal()).put(tmp_path)
    said = refused(tmp_path / "config", "--sample", str(sample), "--yes")
    assert said.removeprefix(f"{tmp_path}/").startswith(sentence.replace("{folder}", str(tmp_path))), said
    assert "sent" not in said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--id", "number"], "--id names 'number', which "),
        (["--id", "order_id", "--map", "order_id=total"], "--id and --map order_id= both name a column; leave one"),
        (["--map", "colour=total"], "--map names the field 'colour'; orders_topic has "),
        (["--const", "price=1", "--map", "price=total"], "A column and a constant are given for 'price'; leave"),
        (["--topic", "order"], "--topic: 'order' is none of orders, clicks, errors, refunds (did you mean 'orders'?)"),
        (["--topic", "clicks", "--total", "total"], "--total says nothing of clicks; leave it out, or correct"),
        (["--topic", "refunds", "--grain", "line"], "--grain goes with orders, and these are refunds; leave it out."),
        (["--zone", "Berlin"], "--zone: 'Berlin' is no zone"),
        (["--time", "customer"], "--time names 'customer', and 'ada' is no time that is known here; say how"),
        (["--date-format", "%H"], "--date-format is '%H'; expected a form like %d.%m.%Y, or one of s, ms, us"),
        (["--currency", "euros"], "--currency: 'euros' is no currency; say a code of ISO 4217, like EUR."),
        (["--decimal", ";"], "--decimal is ';'; expected . or a comma."),
        (["--encoding", "utf-9"], "--encoding is 'utf-9', which Python does not know"),
        (["--map", "product_id"], "--map is 'product_id'; expected FIELD=…, like --map product_id=sku."),
        (["--const", "quantity=many"], "--const quantity is 'many'; expected a whole number."),
        (["--const", "status=SOLD"], "{folder}/config/sources.yaml, line "),
        (["--name", "a b"], "{folder}/config/sources.yaml, line "),
    ],
)  # fmt: skip
def test_flags_that_do_not_go_together_are_refused_in_a_sentence(
    flags: list[str], sentence: str, tmp_path: Path
) -> None:
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    said = refused(tmp_path / "config", "--sample", sample, "--yes", *flags)
    assert said.startswith(sentence.replace("{folder}", str(tmp_path))), said


def test_a_zone_or_a_delimiter_that_means_nothing_is_refused(tmp_path: Path) -> None:
    sample = str(SAMPLES["an array with milliseconds"]().put(tmp_path))
    said = refused(tmp_path / "config", "--sample", sample, "--yes", "--zone", "Europe/Berlin")
    assert said == "--zone is for times without one, and those of ts have theirs; leave it out."
    said = refused(tmp_path / "config", "--sample", sample, "--yes", "--delimiter", ";")
    assert said == f"--delimiter goes with CSV, and {sample} is JSON; leave it out."


def test_a_folder_that_is_used_is_left_as_it_is(tmp_path: Path) -> None:
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.yaml").write_text("a: 1\n")
    said = refused(used, "--sample", sample, "--yes")
    assert said == f"{used} is not empty; name a new folder: nothing of yours is changed."
    assert [path.name for path in used.iterdir()] == ["mine.yaml"]
    said = refused(tmp_path / "orders.csv", "--sample", sample, "--yes")
    assert said == f"{tmp_path}/orders.csv is no folder; name a new one."
    done = init(tmp_path / "orders.csv" / "config", "--sample", sample, "--yes")
    assert str(done.exception) == (
        f"{tmp_path}/orders.csv/config cannot be made in {tmp_path}/orders.csv: it is no folder; name another folder."
    )
    (used / "mine.yaml").unlink()
    assert init(used, "--sample", sample, "--yes").exit_code == 0


def test_a_folder_that_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "SHIPPED", ("alerts.yaml", "none.yaml"))
    sample = str(Given("orders.csv", HEAD, 2, Decimal("11.5")).put(tmp_path))
    assert refused(tmp_path / "config", "--sample", sample, "--yes") == (
        f"{tmp_path}/config cannot be written: No such file or directory; name another folder."
    )


def test_a_sample_that_is_missing_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert refused(tmp_path / "config", "--yes") == (
        "Give a message of your shop, or the first lines of its CSV, by --sample FILE: it says what to write."
    )
    said = refused(tmp_path / "config", "--sample", str(tmp_path / "none.csv"), "--yes")
    assert said == f"{tmp_path}/none.csv cannot be read: No such file or directory; correct the path."
    said = refused(tmp_path / "config", "--sample", str(tmp_path), "--yes")
    assert said == f"{tmp_path} cannot be read: Is a directory; correct the path."
