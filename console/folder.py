"""A folder whose files each declare one class: tabs, live charts. It is scanned once; the file's name is the name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import ClassVar, Protocol

from lakehouse.user_error import UserError


class Ordered(Protocol):
    """What is found in a folder: its place among the others."""

    order: ClassVar[int]


def declared_in[T: Ordered](package: str, base: type[T]) -> MappingProxyType[str, type[T]]:
    """The subclass of `base` in each file of a package: name of the file to class, in their `order`.

    Raises UserError for a file without such a class or with two, for what a class lacks, and for an order twice.
    """
    found: dict[str, type[T]] = {}
    for name in sorted(module.name for module in iter_modules(import_module(package).__path__)):
        found[name] = _declared(f"{package}.{name}", base)
    orders: dict[int, str] = {}
    for name, kind in found.items():
        if kind.order in orders:
            raise UserError(
                f"{_file(package, name)} and {_file(package, orders[kind.order])} both have order {kind.order}; "
                "give one of them another number."
            )
        orders[kind.order] = name
    return MappingProxyType({orders[order]: found[orders[order]] for order in sorted(orders)})


def _declared[T: Ordered](module: str, base: type[T]) -> type[T]:
    held = vars(import_module(module)).values()
    kinds = [one for one in held if isinstance(one, type) and issubclass(one, base) and one.__module__ == module]
    file = _file(*module.rsplit(".", 1))
    if len(kinds) != 1:
        names = " and ".join(kind.__name__ for kind in kinds) or "none"
        raise UserError(f"{file} should declare one class that is a {base.__name__}, and declares {names}.")
    needed = [name for name, kind in base.__annotations__.items() if str(kind).startswith("ClassVar")]
    lacking = [name for name in needed if not hasattr(kinds[0], name)]
    if lacking:
        raise UserError(f"{kinds[0].__name__} in {file} lacks '{lacking[0]}'; see {base.__name__} for what it says.")
    return kinds[0]


def _file(package: str, name: str) -> str:
    return f"{package.replace('.', '/')}/{name}.py"
