"""docs/your-shop.md, "From an empty folder to a message": its files, commands and pages, as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bench.processes import Demo
from lakehouse import ROOT
from tests.browser.conftest import eventually
from tests.test_your_shop import blocks, section

pytestmark = pytest.mark.browser
HEADING = "From an empty folder to a message"


class Walk:
    """A folder, and what the page tells to do in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (".venv", "examples"):
            (folder / name).symlink_to(ROOT / name)

    def enter(self, lines: str, demo: Demo) -> str:
        """Enter lines in the terminal of before; what they say."""
        done = subprocess.run(
            ["bash", "-e"], input=lines, capture_output=True, text=True, cwd=self.folder, env=demo.environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, before: str, text: str) -> None:
        """A file that the words before its text name, an end of one, or another rule in place of one of its name."""
        name = re.findall(r"`([\w/]+\.\w+)`", before)[-1]
        path = self.folder / name
        rule = textwrap.indent(text, "  ")
        if before.rstrip(":").endswith(f"the end of `{name}`"):
            path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n" + rule, encoding="utf-8")
        elif before.endswith("becomes:"):
            of = re.escape(rule.partition("\n")[0])
            old = re.compile(rf"^{of}\n(?: {{4}}.*\n)+", re.MULTILINE)
            found = path.read_text(encoding="utf-8")
            assert len(old.findall(found)) == 1, before
            path.write_text(old.sub(lambda _: rule, found), encoding="utf-8")
        else:
            path.write_text(text, encoding="utf-8")


def told(demo: Demo) -> str:
    with urllib.request.urlopen(demo.url("sandbox", "/messages"), timeout=10) as answer:
        return json.dumps(json.load(answer))


@pytest.mark.timeout(480)
def test_an_own_file_topic_rule_and_limit_reach_screen_and_sandbox(page: Page, tmp_path: Path) -> None:
    walk, said, exported = Walk(tmp_path), "", ""
    demo = Demo(command=(sys.executable, "-m", "tillwatch", "demo", "--no-lite"), folder=tmp_path / "demo")
    demo.folder.mkdir()
    for before, block in blocks(HEADING):
        if re.match(r"[.\w/]*(?:tillwatch|make|cp|export) ", block):
            lines = [line for line in block.splitlines(keepends=True) if line.strip() != "make demo"]
            said += walk.enter(exported + "".join(lines), demo)
            exported += "".join(line for line in lines if line.startswith("export "))
        else:
            walk.write(before, block)
    config = tmp_path / "shop" / "tillwatch.yaml"
    assert f"Nothing is wrong in {config.parent}" in said
    demo.variables = demo.environment | {"TILLWATCH_CONFIG": str(config)}
    with demo:
        eventually(lambda: "live after" in demo.last_words(40), 90)
        [orders, payments] = re.findall(r"http://localhost:\d+(/app\?tab=\S+)", section(HEADING))
        page.goto(demo.url("console", orders))
        rows = page.locator('[data-list="order_rows"]')
        expect(rows.locator("tr")).to_have_count(3)
        expect(page.locator("#notice")).to_be_hidden()
        expect(rows).to_contain_text("samovar")
        page.goto(demo.url("console", payments))
        expect(page.locator('[data-list="payments.tables0"] tr')).to_have_count(3)
        expect(page.locator('[data-list="payments.tables0"]')).to_contain_text("p-2")
        eventually(lambda: "2 payments were refused" in told(demo), 60)
        # The minute that is judged is over, and the rule's own is over, before it fires.
        eventually(lambda: re.search(r"No orders for [123] min", told(demo)) is not None, 300)
