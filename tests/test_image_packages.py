"""What deploy/Dockerfile installs for a part covers what that part's modules import."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lakehouse import ROOT

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
OURS = ("lakehouse", "pipeline", "console", "notifier", "producers", "embedded")
STARTS = {
    "console": ("console",),
    "lite": ("console.lite",),
    "notifier": ("notifier",),
    "producers": ("producers",),
    "sandbox": ("embedded.sandbox",),
    "gateway": ("embedded.gateway",),
}
"""The modules that a part's process may load, whatever these import included."""
NOT_LOADED = {"console": ("console.lite", "console.small")}
NOT_CALLED = {"lite": {"bokeh"}}
"""What a part's modules import in a function that it does not call: console.look.bokeh_theme."""


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*OURS, include_external_packages=True)


def imported(part: str) -> set[str]:
    """Top-level modules of others that a part's modules import, directly or through ours."""
    but = NOT_LOADED.get(part, ())
    begin = [name for name in graph().modules if _below(name, STARTS[part]) and not _below(name, but)]
    found: set[str] = set()
    for name in begin:
        found |= {name, *graph().find_upstream_modules(name)}
    tops = {name.partition(".")[0] for name in found}
    return tops - {*OURS, *sys.stdlib_module_names, *NOT_CALLED.get(part, ())}


def _below(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def listed(part: str) -> set[str]:
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE)
    common = re.search(r"&& sh install (.+)", lines)
    own = re.search(rf"AS install-{part}\nRUN sh install (.+)", lines)
    assert common, part
    assert own, part
    return {canonicalize_name(name) for name in f"{common[1]} {own[1]}".split()}


def with_what_they_need(names: Iterable[str]) -> set[str]:
    """Packages and all that these require, by the metadata of what is installed here."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue  # of another system
        left += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.parametrize("part", STARTS)
def test_an_image_has_what_its_part_imports(part: str) -> None:
    there = with_what_they_need(listed(part))
    by_module = packages_distributions()
    missing = {
        name: by_module.get(name, ["?"])
        for name in imported(part)
        if not {canonicalize_name(one) for one in by_module.get(name, ["?"])} & there
    }
    assert not missing


def test_a_package_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.DOCKERFILE", DOCKERFILE.replace("apscheduler cachetools", "apscheduler"))
    with pytest.raises(AssertionError, match="cachetools"):
        test_an_image_has_what_its_part_imports("notifier")
