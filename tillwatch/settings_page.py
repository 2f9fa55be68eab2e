"""The settings table of docs/operations.md, from the settings classes: `python -m tillwatch.settings_page`.

--write puts it into the page, --check compares, without either it is printed.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

from lakehouse import ROOT
from lakehouse.settings.base import Section
from lakehouse.settings.durations import write_duration
from lakehouse.settings.sources import SECTIONS
from lakehouse.user_error import UserError, exit_on_user_error

PAGE = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"
PACKAGES = ("lakehouse", "pipeline", "producers", "embedded", "console", "notifier", "tillwatch")
_COMMAND = "python -m tillwatch.settings_page --write"


def every_section(spark: bool = True) -> dict[str, type[Section]]:
    """All settings classes of all parts, by section in the file's order; the shared ones, under '', first. Spark's own
    where they are wanted: it must be installed for them."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if "settings" in module.name.split("."):
                importlib.import_module(module.name)
    if spark:
        if (scripts := str(ROOT / "spark-apps")) not in sys.path:
            sys.path.append(scripts)
        importlib.import_module("session")  # of spark-apps, which is no package
    found = {cls.section or "": cls for cls in Section.__subclasses__() if not cls.partial}
    return {name: found[name] for name in ("", *SECTIONS) if name in found}


def rows() -> Iterator[str]:
    """The table, line by line."""
    yield "| setting | default | what |"
    yield "|---|---|---|"
    for section, cls in every_section().items():
        for name, field in cls.model_fields.items():
            what = (field.description or "").replace("|", "\\|")
            yield f"| `{section + '.' if section else ''}{name}` | {_default(field)} | {what} |"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    match value:
        case SecretStr():
            return "secret" if value.get_secret_value() else ""
        case ByteSize():
            return f"`{value.human_readable(separator='').replace('.0', '')}`"
        case timedelta():
            return f"`{write_duration(value)}`"
        case None:
            return "" if "Path" in str(field.annotation) else "`off`"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple() | dict() if not value:
            return "none"
        case tuple():
            return f"`{', '.join(map(str, value))}`"
        case str() | Path() if not str(value):
            return ""
    return f"`{value}`"


def main(arguments: list[str] | None = None) -> None:
    """Raises UserError where --check finds the page out of date."""
    parser = argparse.ArgumentParser(prog="python -m tillwatch.settings_page", description="The table of settings.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write it into docs/operations.md")
    what.add_argument("--check", action="store_true", help="fail when docs/operations.md is not what the code says")
    options = parser.parse_args(arguments)
    table = "\n".join(rows())
    if not (options.write or options.check):
        print(table)
        return
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    page = f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"
    if options.write:
        PAGE.write_text(page, encoding="utf-8")
    elif page != text:
        raise UserError(f"docs/operations.md is not what the code says; run {_COMMAND}.")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
