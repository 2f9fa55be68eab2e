"""A YAML file that a pydantic model reads: whatever is wrong is one sentence with file, line and what would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lakehouse.mistakes import AlreadyTold, noted
from lakehouse.settings.reason import reason
from lakehouse.texts import near, visible
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, parse_yaml, read_text

type Place = tuple[str | int, ...]


class CheckedFile:
    """The file `path`, set by `setting`. Raises UserError where it cannot be read as YAML.

    of_list: the models of entries, by the key of their list. was: what stands in place of a key that others know, by
    the key of the list it stands in.
    """

    def __init__(
        self,
        path: Path,
        setting: str,
        of_list: Mapping[str, type[BaseModel]],
        was: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.path = path
        self._of_list = of_list
        self._was = was or {}
        try:
            self._text = read_text(path)
            self.content: Any = parse_yaml(self._text)
        except NotYaml as error:
            raise UserError(f"The file {path} cannot be read: {error}; mend it or set {setting}.") from None

    def read[M: BaseModel](self, model: type[M], key: str) -> M:
        """The whole of it, which has at least this key."""
        if not isinstance(self.content, dict) or key not in self.content:
            given = get_close_matches(key, map(str, self.content), 1) if isinstance(self.content, dict) else []
            hint = f", but `{given[0]}:`; rename it, or" if given else ";"
            self.refuse(
                tuple(given), f"it holds no list `{key}:`{hint} compare with config/{self.path.name} as it is shipped"
            )
        try:
            return model.model_validate(self.content)
        except ValidationError as error:
            for each in told_once(error.errors()):
                with noted(self.path):
                    self._invalid(each, model, key)
            raise AlreadyTold(f"{self.path} is wrong") from None

    def once(self, key: str, names: Sequence[str], field: str = "name") -> None:
        """Refuse a list in which a name stands twice."""
        for number, name in enumerate(names):
            if name in names[:number]:
                self.refuse((key, number, field), f"'{name}' stands twice under `{key}:`; give one another name")

    def refuse(self, place: Place, what: str) -> NoReturn:
        """Raise the sentence of a place: keys, and numbers of entries of lists."""
        line = line_of(self._text, *place)
        raise UserError(f"{self.path}, line {line}{self._named(place)}: {what}.") from None

    def _invalid(self, error: ErrorDetails, model: type[BaseModel], whole: str) -> NoReturn:
        # What pydantic adds to tell how it came there is no part of the file.
        place: Place = tuple(part for part in error["loc"] if isinstance(part, int) or _is_key(part))
        key = next((str(part) for part in reversed(place) if isinstance(part, str)), whole)
        match error["type"]:
            case "missing":
                self.refuse(place[:-1], f"the key '{place[-1]}' is missing; add it")
            case "extra_forbidden":
                self.refuse(place, self._unknown(place, model))
            case "invalid_key":
                self.refuse(place[:-1], f"the key '{place[-1]}' is no text; quote it, or correct it")
            case "too_short" | "string_too_short":
                self.refuse(place, f"'{key}' is empty; fill it or leave it out")
            case "tuple_type" | "list_type":
                self.refuse(place, f"'{key}' is no list; write it as [one, two]")
            case "model_type" | "model_attributes_type":
                self.refuse(place, f"an entry of '{key}' is no mapping; write `name: …` and its other keys")
        what, value = reason(error), error["input"]
        # A password's hash is nobody's to read, and what begins with a part of the value need not be told it again.
        if isinstance(value, str | int | float) and key != "password" and not what.startswith("'"):
            self.refuse(place, f"'{key}' has the value '{visible(str(value), 100)}': {what}")
        self.refuse(place, f"'{key}': {what}")

    def _unknown(self, place: Place, whole: type[BaseModel]) -> str:
        key = str(place[-1])
        owner = next((part for part in reversed(place[:-1]) if isinstance(part, str)), "")
        model = self._of_list.get(owner, whole)
        known = [field.alias or name for name, field in model.model_fields.items()]
        if key in self._was.get(owner, {}):
            return f"the key '{key}' is unknown; {self._was[owner][key]} in its place"
        return f"the key '{key}' is unknown{near(key, known)}; keys here are {', '.join(known)}"

    def _named(self, place: Place) -> str:
        """The entry that a place lies in, by its name."""
        found, name = self.content, ""
        for part in place:
            try:
                found = found[part]
            except (LookupError, TypeError):
                break
            if isinstance(found, dict) and isinstance(found.get("name"), str):
                name = found["name"]
        return f", '{name}'" if name else ""


def told_once(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The first of each place (a value may be wrong in each of several ways), and no key that is missing because it is
    misspelt, or another stands in its place: the unknown key beside it tells that."""
    first: dict[Place, ErrorDetails] = {}
    for error in errors:
        first.setdefault(tuple(part for part in error["loc"] if isinstance(part, int) or _is_key(part)), error)
    # What is wrong with a whole comes of its parts.
    first = {place: error for place, error in first.items() if not any(_within(other, place) for other in first)}
    unknown = [place for place, error in first.items() if error["type"] in ("extra_forbidden", "invalid_key")]

    missing = [place for place, error in first.items() if error["type"] == "missing"]

    def misspelt(place: Place) -> bool:
        beside = [other for other in unknown if other[:-1] == place[:-1]]
        alone = len(beside) == 1 == sum(other[:-1] == place[:-1] for other in missing)
        return alone or any(near(str(other[-1]), [str(place[-1])]) for other in beside)

    return [error for place, error in first.items() if error["type"] != "missing" or not misspelt(place)]


def _within(place: Place, other: Place) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _is_key(part: str) -> bool:
    return "[" not in part and "(" not in part
