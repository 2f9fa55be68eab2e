"""Sources as the text of config/sources.yaml, with comments, to be read and changed by people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from lakehouse.texts import visible
from tillwatch.init.source import SourceText

_WIDTH = 110
_BESIDE = 46
"""Where comments begin."""


def sources_text(sources: Sequence[SourceText], made_of: str) -> str:
    head = [
        f"# How messages of the shop become events: begun by `tillwatch init` from {visible(made_of, 200)}, and yours.",
        "# docs/your-shop.md tells every key; after a change: `tillwatch sources check`, `tillwatch sources try FILE`.",
    ]
    return "\n".join([*head, *(line for source in sources for line in ["", *_lines(source)])]) + "\n"


def _lines(source: SourceText) -> Iterator[str]:
    for sentence in source.about:
        yield f"# {sentence}"
    yield f"{_scalar(source.name)}:"
    for key, value in source.content.items():
        if key == "map":
            yield "  map:"
            for name, how in value.items():
                yield from _beside(list(_entry(name, how, 4)), source.beside.get(name))
        else:
            yield from _entry(key, value, 2)


def _beside(lines: list[str], comment: str | None) -> list[str]:
    if comment is not None and len(lines) == 1:
        lines[0] = f"{lines[0]:<{_BESIDE}}  # {visible(comment)}"
    return lines


def _entry(name: str, value: Any, indent: int) -> Iterator[str]:
    line = f"{' ' * indent}{_scalar(name)}: {_scalar(value) if isinstance(value, str) else _flow(value)}"
    if len(line) <= _WIDTH or not isinstance(value, Mapping):
        yield line
        return
    yield f"{' ' * indent}{_scalar(name)}:"
    for key, inner in value.items():
        yield from _entry(key, inner, indent + 2)


def _flow(value: Any) -> str:
    """A value on one line, as it may stand within others."""
    match value:
        case dict():
            return f"{{{', '.join(f'{_flow(key)}: {_flow(held)}' for key, held in value.items())}}}"
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case str() if value.isprintable():
            return _dumped([value], default_flow_style=True)[1:-1]
    return _scalar(value)


def _scalar(value: object) -> str:
    # What acts unseen, as a line break does in a name of a spreadsheet's column, is written out.
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    return _dumped(value, default_style=style, allow_unicode=style is None)


def _dumped(value: object, **how: Any) -> str:
    return (
        str(yaml.safe_dump(value, width=10**6, **{"allow_unicode": True, **how}))
        .removesuffix("\n")
        .removesuffix("\n...")
    )
