"""How commands answer: text for people, or one JSON document."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document in place of text.")]


def say(text: str, content: Any, as_json: bool) -> None:
    """Print one of the two."""
    typer.echo(json.dumps(content, indent=2, default=str, ensure_ascii=False) if as_json else text)
