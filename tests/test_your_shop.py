"""docs/your-shop.md as it is written: `tillwatch check` takes all of its files, and its commands have their options."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lakehouse import ROOT
from lakehouse.settings.sources import SECTIONS
from producers.__main__ import app as producers
from tests.own_cast import Own
from tillwatch.__main__ import app as tillwatch

PAGE = (ROOT / "docs" / "your-shop.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```\w*\n(?P<fenced>(?:.*\n)*?)```$|(?P<indented>^\n(?: {4}.*\n|\n(?= {4}))+)", re.MULTILINE)
_FILE = re.compile(r"`?config/([\w/.]+\.(?:yaml|sql|csv))`?")
_COMMAND = re.compile(r"(?:\.venv/bin/)?(?:python -m )?(tillwatch|producers|make) (.+)")


def section(heading: str) -> str:
    """The text of one section of the page."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(heading: str = "") -> Iterator[tuple[str, str]]:
    """What stands before each block of the page, or of one of its sections, and the block."""
    page = section(heading) if heading else PAGE
    end = 0
    for match in _BLOCK.finditer(page):
        block = match["fenced"] or textwrap.dedent(match["indented"] or "").strip("\n") + "\n"
        yield page[end : match.start()].rstrip().rpartition("\n\n")[2], block
        end = match.end()


def files() -> Iterator[tuple[str, str]]:
    """Name in config/ and text of each file that the page shows; several may be parts of one."""
    for before, block in blocks():
        if _COMMAND.match(block.strip()):
            continue
        # `# config/NAME` begins another file within a block.
        first, *more = re.split(r"^# config/([\w/.]+)\n", block, flags=re.MULTILINE)
        if first.strip():
            named = _FILE.findall(before) if before.endswith(":") else []
            name = named[-1] if named else _told_by_keys(first)
            if name:
                yield name, first
        yield from zip(more[::2], more[1::2], strict=True)


def _told_by_keys(text: str) -> str:
    """The file of settings, rules or sources, by its keys; empty for none of them."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    if not isinstance(content, dict):
        return ""
    if any(isinstance(value, dict) and "map" in value for value in content.values()):
        return "sources.yaml"
    return "alerts.yaml" if [*content] == ["rules"] else "tillwatch.yaml" if {*content} <= {*SECTIONS} else ""


def commands() -> Iterator[str]:
    """What the page tells to enter, in blocks and in sentences."""
    for _, block in blocks():
        for line in block.replace("\\\n", " ").splitlines():
            if _COMMAND.match(line):
                yield re.split(r"  +#|  {2,}\w+ .* ", line)[0]
    for span in re.findall(r"`([^`\n]+)`", _BLOCK.sub("\n", PAGE)):
        if _COMMAND.match(span) and not span.startswith("make "):
            yield span


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def test_check_takes_all_files_of_the_page_at_once(own: Own) -> None:
    merged: dict[str, str] = {}
    settings: dict[str, dict[str, object]] = {}
    for name, text in files():
        if name == "tillwatch.yaml":
            for section, given in yaml.safe_load(text).items():
                settings.setdefault(section, {}).update(given)
        elif name == "alerts.yaml":
            merged[name] = merged.get(name, own.settings.with_name(name).read_text(encoding="utf-8").rstrip() + "\n")
            merged[name] += text.partition("\n")[2]
        else:
            merged[name] = merged.get(name, "") + text
    assert {*merged} >= {
        "alerts.yaml", "boards/trade.yaml", "kpis/payments_per_minute.sql", "questions/trade_by_status.sql",
        "questions/trade_minutes.sql", "questions/trade_now.sql", "questions/trade_rows.sql", "rates.csv",
        "sources.yaml", "topics/payments_topic.yaml",
    }  # fmt: skip
    assert {"currency", "grain"} <= {*settings["orders"]}
    for name, text in merged.items():
        own.add(name, text)
    own.settings.write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = own.run("-m", "tillwatch", "check", TILLWATCH_DREMIO_URI="grpc://127.0.0.1:1")
    assert [line for line in done.stdout.splitlines() if not line.startswith("Note: Statements were planned")] == [
        f"Nothing is wrong in {own.config}"
    ]


def test_commands_of_the_page_have_the_options_that_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = list(commands())
    asked = set()
    for command in told:
        match = _COMMAND.fullmatch(command.strip())
        assert match is not None, command
        program, words = match[1], shlex.split(match[2])
        if program == "make":
            program, words = "tillwatch", [words[0], *shlex.split(" ".join(words[1:]).removeprefix("ARGS="))]
        if words[0] == "producers":
            program, words = "producers", words[1:]
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        values = {after for option, after in pairwise(words) if option.startswith("--")}
        plain = [word for word in words if not word.startswith("-") and word not in values]
        answer = CliRunner().invoke(producers if program == "producers" else tillwatch, [*plain, "--help"])
        assert answer.exit_code == 0, f"{command}: {answer.output}"
        assert {option for option in options if option not in answer.output} == set(), command
        asked.add(f"{program} {plain[0]}")
    assert asked >= {"tillwatch check", "tillwatch demo", "tillwatch sources", "tillwatch stack", "producers replay"}
