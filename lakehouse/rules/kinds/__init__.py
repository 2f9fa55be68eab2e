"""The kinds of rules: one file each, whose name is the kind's name in config/alerts.yaml and holds its class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lakehouse.rules.rule import Rule
from lakehouse.user_error import UserError


@cache
def kinds() -> Mapping[str, type[Rule]]:
    """Each kind's class by the kind's name, in the order of the names. The folder is scanned once.

    Raises UserError naming the file that does not hold just one kind.
    """
    return {name: _kind(name) for name in sorted(module.name for module in iter_modules(__path__))}


def _kind(name: str) -> type[Rule]:
    module = import_module(f"{__name__}.{name}")
    where = f"lakehouse/rules/kinds/{name}.py"
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Rule) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        given = ", ".join(kind.__name__ for kind in found) or "none"
        raise UserError(f"{where} holds {given} where one subclass of Rule is the kind '{name}'; leave one.")
    [kind] = found
    if inspect.isabstract(kind):
        lacking = ", ".join(sorted(kind.__abstractmethods__))
        raise UserError(f"{where}: {kind.__name__} lacks {lacking}; write what MinuteRule or Rule asks for.")
    return kind
