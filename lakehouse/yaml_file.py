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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotYaml(error.strerror or str(error)) from None
    except ValueError:
        raise NotYaml("it is not UTF-8 text; save it as UTF-8") from None
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        what = "it is not YAML: " if isinstance(error, yaml.MarkedYAMLError) else ""
        raise NotYaml(what + " ".join(str(error).split())) from None
    except RecursionError:
        raise NotYaml("its values are nested too deep") from None
    except Exception as error:
        # PyYAML lets through whatever Python says of a value: ValueError of 2026-13-01, IndexError of `!!int ''`.
        raise NotYaml(f"one of its values is none: {' '.join(str(error).split())[:200]}") from None


def line_of(path: Path, *keys: object) -> int:
    """The line (from 1) of the value that these keys, places in lists, lead to in a file that `read_yaml` took.

    Where there is no such value, that of the last one on the way.
    """
    node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    line = 1
    for key in (None, *keys):
        if key is not None:
            node = _under(node, key)
        if node is None:
            break
        line = node.start_mark.line + 1
    return line


def _under(node: yaml.Node | None, key: object) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        found: yaml.Node = node.value[key]
        return found
    return None


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
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key '{key}' stands twice in the mapping at line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)
