"""`tillwatch sources`: the file is right or one sentence, and what the messages of a file would become."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse.user_error import UserError
from tests.source_cast import YAML, debezium, kinds, packed
from tillwatch.sources_command import sources


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(sources, words, catch_exceptions=True)
    if isinstance(done.exception, UserError):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "sources.yaml"
    file.write_text(YAML, encoding="utf-8")
    return str(file)


def test_check_says_what_each_source_reads(config: str, tmp_path: Path) -> None:
    code, said = run("check", "--config", config)
    assert code == 0
    assert said.splitlines()[0] == "shop_debezium: shop.public.orders -> orders_topic"
    (tmp_path / "empty.yaml").write_text("# none\n", encoding="utf-8")
    assert run("check", "--config", str(tmp_path / "empty.yaml")) == (
        0,
        "There is no source: the log's topics are read as they always were.\n",
    )


def test_each_line_becomes_events_or_a_reason_with_path_and_value(config: str, tmp_path: Path) -> None:
    lines = [packed(debezium(1)), b"", packed(debezium(2, op="d")), packed(debezium(3, before=None, after="new"))]
    lines.append(packed(debezium(4)).replace(b"1250", b'"much"'))
    file = tmp_path / "changes.jsonl"
    file.write_bytes(b"\n".join(lines))
    code, said = run("try", str(file), "--config", config, "--source", "shop_debezium")
    first, left_out, other, bad, sums = said.splitlines()
    assert code == 1
    assert first.startswith('line 1: orders_topic {"event_id":"orders-1-24023129","order_id":"1",')
    assert left_out == "line 3: left out"
    assert '"status":"PROCESSING"' in other
    assert bad == "line 5: BAD_TYPE price (after.price_cents) is 'much', expected a number"
    assert sums == "4 messages: orders_topic 2, left out 1, BAD_TYPE 1"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_may_be_one_message(config: str, tmp_path: Path, pack: type[bytes]) -> None:
    document = json.loads(kinds()["nested items"].value)
    file = tmp_path / "order.json"
    file.write_bytes(pack(json.dumps(document, indent=2).encode()))
    code, said = run("try", str(file), "--config", config, "--source", "shop_lines", "--most", "0")
    assert (code, said) == (0, "… and 1 more\n1 messages: orders_topic 2\n")


def test_a_wrong_word_is_a_sentence(config: str, tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    with pytest.raises(UserError, match="'shop_line' is no source \\(did you mean 'shop_lines'\\?\\); there are"):
        run("try", str(file), "--config", config, "--source", "shop_line")
    with pytest.raises(UserError, match="Say by which source with --source; there are shop_debezium, "):
        run("try", str(file), "--config", config)
    with pytest.raises(UserError, match=r"m.jsonl cannot be read: No such file or directory; correct the path"):
        run("try", str(file), "--config", config, "--source", "shop_lines")
