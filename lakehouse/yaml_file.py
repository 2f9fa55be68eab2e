"""YAML that people write: read whole, or one reason why not."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml


class NotYaml(Exception):
    """The file cannot be read as YAML; the message is the reason, without the file's name and a full stop."""


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; None where it is empty. Raises NotYaml, and nothing else.

    A key that is written twice is refused (YAML takes the last one, silently), and so is an alias of a list or a
    mapping, of which a few lines can name more values than a machine can hold.
    """
    return parse_yaml(read_text(path))


def read_text(path: Path) -> str:
    """A file's text. Raises NotYaml, and nothing else."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotYaml(error.strerror or str(error)) from None
    except ValueError:
        raise NotYaml("it is not UTF-8 text; save it as UTF-8") from None


def parse_yaml(text: str) -> Any:
    """The same of a text."""
    # Not the loader in C, although it is eight times faster: 100,000 open brackets end the process.
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise NotYaml(_why(error)) from None
    except RecursionError:
        raise NotYaml("its values are nested too deep") from None
    except Exception as error:
        # PyYAML lets through whatever Python says of a value: ValueError of 2026-13-01, IndexError of `!!int ''`.
        raise NotYaml(f"one of its values is none: {' '.join(str(error).split())[:200]}") from None


def _why(error: yaml.YAMLError) -> str:
    """Where it ends to be YAML, and in what."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    line = error.problem_mark.line + 1
    began = error.context_mark.line + 1 if error.context_mark is not None else line
    what = f"it is not YAML: line {line}: {error.problem or error.context}"
    return " ".join(what.split()) + (f", in what begins in line {began}" if began != line else "")


def line_of(text: str, *keys: object) -> int:
    """The line (from 1) of a YAML text in which stands what these keys, and places in lists, lead to.

    Where there is no such thing, that of the last one on the way.
    """
    node = yaml.compose(text, Loader=_Loader)
    line = 1 if node is None else node.start_mark.line + 1
    for key in keys:
        node, found = _under(node, key)
        if node is None:
            break
        line = found
    return line


def _under(node: yaml.Node | None, key: object) -> tuple[yaml.Node | None, int]:
    """What stands under a key, and the key's line."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return value, name.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        found: yaml.Node = node.value[key]
        return found, found.start_mark.line + 1
    return None, 0


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if alias is not None and not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError(
                f"'*{alias.anchor}' at line {alias.start_mark.line + 1} stands for a list or a mapping; write it out"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key, (written, _) in zip(keys, node.value, strict=True):
            if isinstance(key, bool | None):
                # YAML's `on`, `off`, `yes`, `no` and an empty key; nobody means them.
                line = written.start_mark.line + 1
                raise yaml.YAMLError(f"the key '{written.value}' at line {line} is no text to YAML; quote it")
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key '{key}' stands twice in the mapping at line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)
