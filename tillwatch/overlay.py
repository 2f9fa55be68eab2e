"""`--with examples/NAME`: the files of a folder laid over config/ for one run, in a folder of the data directory.

Nothing in config/ changes. What both have is one: of YAML files beside the settings file mappings are merged and lists
joined (a setting is the example's), any other file is the example's. Files that one alone has are linked: an edit is
seen as ever.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lakehouse.own import config_path
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_yaml
from tillwatch.leftovers import only_demo

FOLDER = "config"
"""In the data directory."""
_FOLDERS = ("topics", "kpis", "questions", "boards")
_BEFORE = "routes.yaml"
"""Its list is asked from the top, to the first that fits: what is laid over it stands before yours."""


def use(folders: Sequence[Path], data_dir: Path, *profiles: str) -> str | None:
    """Let this process and all it starts read config/ with these folders laid over it; what there is to say of it.

    Must come before any declaration is read. Raises UserError.
    """
    if not folders and not (data_dir / FOLDER).exists():
        return None
    _refuse_missing(folders)
    with only_demo(open_data_dir(data_dir, *profiles).resolve()):
        if folders:
            os.environ["TILLWATCH_CONFIG"] = str(lay_over(folders, data_dir.resolve()))
            return f"config/ with {', '.join(map(str, folders))} over it, in {config_path().parent}"
        shutil.rmtree(data_dir / FOLDER, ignore_errors=True)
    return (
        "the last start had --with, this one has not: its own topics and KPI tables stay as they are and can be read, "
        "nothing new comes to them"
    )


def lay_over(folders: Sequence[Path], data_dir: Path, into: str = FOLDER) -> Path:
    """Make the folder, anew; the settings file in it. Raises UserError for a folder that is none, or cannot be read."""
    _refuse_missing(folders)
    mine, target = config_path(), data_dir / into
    if mine.parent.resolve() == target.resolve():
        raise UserError(f"TILLWATCH_CONFIG names {mine}, which --with makes anew; name the file that you edit.")
    layers = [mine.parent, *folders]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        names = {path.relative_to(layer) for layer in layers for path in _files(layer)}
        for name in sorted(names | ({Path(mine.name)} if mine.is_file() else set())):
            (target / name).parent.mkdir(exist_ok=True, parents=True)
            given = [layer / name for layer in layers if (layer / name).is_file()]
            if len(given) == 1 or name.parent != Path() or name.suffix != ".yaml":
                (target / name).symlink_to(given[-1].resolve())
            else:
                _merge(target / name, given, is_settings=name.name == mine.name)
        settings = target / mine.name
        if not settings.exists():
            settings.touch()
    except OSError as error:
        raise UserError(
            f"The files of config/ cannot be laid into {target}: {error.filename}: {error.strerror}; free it or set "
            "TILLWATCH_DATA_DIR."
        ) from None
    return settings


def _refuse_missing(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            found = [str(each) for each in folder.parent.glob("*/")] if folder.parent.is_dir() else []
            raise UserError(
                f"--with is '{folder}', which is no folder{near(str(folder), found)}; name one like config/."
            )


def _files(layer: Path) -> list[Path]:
    """What a folder like config/ holds. It may be a home directory: nothing else in it is looked at."""
    found = [
        *layer.glob("*.yaml"),
        *layer.glob("*.csv"),
        *(path for name in _FOLDERS for path in layer.glob(f"{name}/*")),
    ]
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def _merge(target: Path, given: Sequence[Path], is_settings: bool) -> None:
    whole: Any = None
    for path in given:
        try:
            whole = _joined(whole, read_yaml(path), None if is_settings else target.name == _BEFORE)
        except NotYaml as error:
            raise UserError(f"{path} cannot be read: {error}; mend it.") from None
    head = "".join(f"# {path.resolve()}\n" for path in given)
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120)
    head = f"# Made anew at each start, of these files; changes go there.\n{head}"
    target.write_text(head + text, encoding="utf-8")


def _joined(mine: Any, more: Any, before: bool | None) -> Any:
    """before: whether more of a list stands before mine, or after; None: a list is taken whole."""
    if isinstance(mine, dict) and isinstance(more, dict):
        return mine | {key: _joined(mine.get(key), given, before) for key, given in more.items()}
    if isinstance(mine, list) and isinstance(more, list) and before is not None:
        return [*more, *mine] if before else [*mine, *more]
    return mine if more is None else more
