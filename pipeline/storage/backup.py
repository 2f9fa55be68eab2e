"""A copy of the tables that outlives the object store and the catalog: `python -m pipeline.storage.backup save DIR`.

    save      while everything runs: the head of main is held by a tag, and every file that it needs is copied
    restore   into an empty Nessie and any S3: the files that are missing, then main with the tables as they were
    forget    deletes the tags of saves that were killed

Files of Iceberg never change, so a second `save` into the same directory copies what is new and no more. What came
after the backup is read again from Kafka: the positions are a table like the others.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.settings import IngestSettings, NessieSettings, S3Settings
from pipeline.storage.nessie import MAIN, Nessie, NessieError
from pipeline.storage.objects import Objects, S3Error
from pipeline.storage.repository import Contents, changes_to, refuse_while_driver_runs
from pipeline.storage.sweep import Reach

logger = logging.getLogger("tillwatch.backup")

FORMAT = 1
TAG = "backup-"
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True)
class Backup:
    """What a directory holds: main's commit and its contents by key, and every file they need with its size (bytes)."""

    commit: str
    taken_at: datetime
    contents: Contents
    files: Mapping[str, int]

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        content = {
            "format": FORMAT,
            "commit": self.commit,
            "taken_at": self.taken_at.isoformat(),
            "contents": [{"key": list(key), "content": dict(found)} for key, found in self.contents.items()],
            "files": dict(sorted(self.files.items())),
        }
        _replace(path, json.dumps(content, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Backup:
        """Raises UserError for a file that is none, or of a later version."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = int(content["format"])
            if known > FORMAT:
                raise UserError(f"{path} has format {known}, and this tillwatch knows {FORMAT}; take a newer one.")
            return cls(
                str(content["commit"]),
                datetime.fromisoformat(content["taken_at"]),
                {tuple(entry["key"]): entry["content"] for entry in content["contents"]},
                {str(uri): int(size) for uri, size in content["files"].items()},
            )
        except FileNotFoundError:
            raise UserError(f"There is no {path}, so no backup; name the directory of one.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}); take another backup.") from None


@dataclass(frozen=True, slots=True)
class FilesCopied:
    """What was done: files there are, and those that had to be copied with their bytes."""

    commit: str
    files: int
    new: int
    size: int


def save(nessie: Nessie, objects: Objects, folder: Path) -> FilesCopied:
    """Copy main's head and the files that it needs into `folder`. The pipeline may run meanwhile.

    Raises UserError where there is nothing to save, or the folder cannot be written.
    """
    at = datetime.now(UTC)
    commit, tag = nessie.head(), f"{TAG}{at:%Y%m%dT%H%M%SZ}"
    for left in nessie.references():
        if left.name.startswith(TAG):
            logger.warning(
                "tag %s is of a backup that runs now, or did not end: where none runs, delete it by "
                "`python -m pipeline.storage.backup forget`",
                left.name,
            )
    # First the tag: no sweep deletes what it holds.
    nessie.create(tag, commit, kind="TAG")
    try:
        contents = nessie.contents(commit)
        locations = [content["metadataLocation"] for content in contents.values() if content["type"] == "ICEBERG_TABLE"]
        if not locations:
            raise UserError(f"There is nothing to save: main of Nessie at {nessie.uri} has no table.")
        wanted = Reach(objects.read).of(locations, since=int(at.timestamp() * 1e6))

        def copy(uri: str) -> tuple[str, int, bool]:
            path, size = _place(folder, uri), objects.look(uri).bytes
            if _is_whole(path, size):
                return uri, size, False
            _replace(path, objects.read(uri))
            return uri, size, True

        done = _side_by_side(copy, wanted)
        Backup(commit, at, contents, {uri: size for uri, size, _ in done}).write(folder / "backup.json")
    except FileNotFoundError as error:
        raise UserError(f"{error} is gone, and main needs it: look at who deletes files there.") from None
    finally:
        nessie.delete(tag, commit, kind="TAG")
    new = [size for _, size, is_new in done if is_new]
    return FilesCopied(commit, len(done), len(new), sum(new))


def forget(nessie: Nessie) -> list[str]:
    """Delete the tags of backups that did not end; their names. One that runs meanwhile may lose files to a sweep."""
    left = [tag for tag in nessie.references() if tag.name.startswith(TAG)]
    for tag in left:
        nessie.delete(tag.name, tag.hash, kind="TAG")
    return [tag.name for tag in left]


def restore(folder: Path, nessie: Nessie, objects: Objects) -> FilesCopied:
    """Put a backup's files into the object store and its tables into main, which must be empty.

    Raises UserError, before anything is changed, where a file of the backup is missing or Nessie is not empty.
    """
    backup = Backup.read(folder / "backup.json")
    lost = [uri for uri, size in backup.files.items() if not _is_whole(_place(folder, uri), size)]
    if lost:
        raise UserError(f"The backup in {folder} lacks {len(lost)} files, {lost[0]} among them; take another backup.")
    head = nessie.head()
    if nessie.contents(head):
        raise UserError(f"Main of Nessie at {nessie.uri} is not empty; start one with an empty store.")
    for bucket in {uri.removeprefix("s3://").partition("/")[0] for uri in backup.files}:
        objects.make_bucket(bucket)

    def put(uri: str) -> tuple[int, bool]:
        size = backup.files[uri]
        try:
            if objects.look(uri).bytes == size:
                return size, False
        except FileNotFoundError:
            pass
        objects.write(uri, _place(folder, uri).read_bytes())
        return size, True

    done = _side_by_side(put, backup.files)
    commit = nessie.put(
        MAIN,
        head,
        changes_to({}, backup.contents),
        f"restored from the backup of {backup.taken_at:%Y-%m-%d %H:%M:%S} UTC",
    )
    new = [size for size, is_new in done if is_new]
    return FilesCopied(commit, len(done), len(new), sum(new))


def _side_by_side[R](work: Callable[[str], R], uris: Iterable[str]) -> list[R]:
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="backup") as pool:
        return list(pool.map(work, sorted(uris)))


def _place(folder: Path, uri: str) -> Path:
    """Where a file of s3://BUCKET/PATH lies in a backup."""
    path = (folder / "files" / uri.partition("://")[2]).resolve()
    if not path.is_relative_to((folder / "files").resolve()):
        raise UserError(f"{uri} is no address of a table's file; take another backup.")
    return path


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; name another directory.") from None


def main(words: list[str] | None = None) -> None:
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m pipeline.storage.backup", description=about)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, does in (("save", "copy the tables into DIR"), ("restore", "put them back into an empty Nessie")):
        commands.add_parser(name, help=does).add_argument("folder", type=Path, metavar="DIR")
    commands.add_parser("forget", help="delete the tags of backups that did not end; none may run")
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    with exit_on_user_error():
        settings = NessieSettings.load()
        with closing(Nessie(settings.uri)) as nessie, closing(Objects(S3Settings.load())) as objects:
            try:
                if arguments.what == "forget":
                    print(f"deleted: {', '.join(forget(nessie)) or 'nothing'}")
                    return
                if arguments.what == "save":
                    done = save(nessie, objects, arguments.folder)
                else:
                    refuse_while_driver_runs(nessie, IngestSettings.load().heartbeat_every)
                    done = restore(arguments.folder, nessie, objects)
            except (NessieError, S3Error) as error:
                raise UserError(str(error)) from None
        where = f"commit {done.commit[:12]} is in" if arguments.what == "save" else "restored from"
        print(
            f"{where} {arguments.folder}: {done.files} files, {done.new} of them copied now ({done.size / 1e6:.1f} MB)"
        )


if __name__ == "__main__":
    main()
