"""A part that outgrows a file is split by noun."""

from __future__ import annotations

from lakehouse import ROOT
from tests.test_alike import PARTS

MOST = 450
USUAL = 250
"""Lines that nine files in ten have at most."""


def test_nine_files_in_ten_are_short_and_none_is_long() -> None:
    paths = [path for part in (*PARTS, "bench") for kind in ("*.py", "*.js") for path in (ROOT / part).rglob(kind)]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: of for name, of in lines.items() if of > MOST} == {}
    long = sorted(name for name, of in lines.items() if of > USUAL)
    assert len(long) <= len(lines) // 10, f"{len(long)} of {len(lines)} have over {USUAL} lines: {', '.join(long)}"
