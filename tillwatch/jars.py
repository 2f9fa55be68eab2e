"""The jars of the stack: fetched once for all checkouts, by the checksums in deploy/jars/*.lock.

    python -m tillwatch.jars [SET…]    fetch what is missing of all sets, or of these, and check every file
    python -m tillwatch.jars lock      resolve deploy/jars/jars.toml anew into deploy/jars/*.lock

A set lies in one directory of the cache, named for its lock's checksum: an older checkout keeps its own. jgo fetches,
in plain Python; what Maven's local repository holds already is taken from there.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse import ROOT
from lakehouse.user_error import UserError, exit_on_user_error
from tillwatch.settings import StackSettings

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCKS = ROOT / "deploy" / "jars"
SETS = ("kafka", "nessie", "s3proxy", "spark")
OF_CDC = ("connect", "debezium")
"""Sets of `stack --cdc` alone."""
OF_TESTS = ("jdbc",)
"""Sets that no part of the stack takes: fetched by the tests that run them."""
_SIDE_BY_SIDE = 8
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Jar:
    """One file; `coordinate` is group:artifact:version, or group:artifact:version:classifier."""

    sha256: str
    size: int
    coordinate: str

    @property
    def filename(self) -> str:
        _, *rest = self.coordinate.split(":")
        return "-".join(rest) + ".jar"


@cache
def locked(name: str) -> tuple[Jar, ...]:
    """The jars of one set, as its lock says."""
    jars = []
    for line in (LOCKS / f"{name}.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            checksum, size, coordinate = line.split()
            jars.append(Jar(checksum, int(size), coordinate))
    return tuple(jars)


def cache_dir() -> Path:
    """Where jars are kept for all checkouts: TILLWATCH_STACK_JARS, else tillwatch/jars in the user's cache."""
    named = StackSettings.load().jars
    if named:
        return Path(named).absolute()
    return user_cache() / "jars"


def user_cache() -> Path:
    """Our directory in this user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "tillwatch"


def directory(name: str) -> Path:
    """The directory of one set, there or not: <cache>/<name>-<checksum of its lock>."""
    entries = "\n".join(f"{jar.sha256} {jar.coordinate}" for jar in locked(name))
    return cache_dir() / f"{name}-{sha256(entries.encode()).hexdigest()[:12]}"


def is_whole(name: str) -> bool:
    """Whether every jar of a set is there in its size; checksums were looked at when it was fetched."""
    where = directory(name)
    try:
        return all((where / jar.filename).stat().st_size == jar.size for jar in locked(name))
    except OSError:
        return False


def missing_mb(names: Sequence[str] = SETS) -> int:
    """What `fetch` of these sets would download (MB)."""
    return round(sum(jar.size for name in names if not is_whole(name) for jar in locked(name)) / 1e6)


def fetch(names: Sequence[str] = SETS, say: Callable[[str], None] = print) -> dict[str, Path]:
    """Make these sets whole; their directories by name. Says how many MB before it downloads.

    Raises UserError when a jar cannot be had, or is not the one of the lock.
    """
    missing = [name for name in names if not is_whole(name)]
    if missing:
        say(f"Getting the jars of {', '.join(missing)}: {missing_mb(missing)} MB to download into {cache_dir()} …")
    for name in missing:
        _fetch_set(name)
    return {name: directory(name) for name in names}


def verify(names: Sequence[str] = SETS) -> None:
    """Compare every file with its checksum. Raises UserError naming the first that differs."""
    for name in names:
        for jar in locked(name):
            path = directory(name) / jar.filename
            if not path.exists() or _checksum(path) != jar.sha256:
                raise UserError(
                    f"{path} is not what deploy/jars/{name}.lock says: remove {path.parent} and start again, "
                    "it will be fetched anew."
                )


def _fetch_set(name: str) -> None:
    target = directory(name)
    with _staging() as staging:
        context = _context(staging / "repository")
        built = staging / "set"
        built.mkdir()
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for jar, found in pool.map(lambda jar: (jar, _fetch_jar(context, jar)), locked(name)):
                if _checksum(found) != jar.sha256:
                    raise UserError(
                        f"The repository's {jar.coordinate} has another checksum than deploy/jars/{name}.lock: it is "
                        "not used; look at TILLWATCH_STACK_MAVEN, or who stands between you and it."
                    )
                # What Maven keeps is copied: its own file may be changed or removed.
                (shutil.move if found.is_relative_to(staging) else shutil.copyfile)(found, built / jar.filename)
        if not is_whole(name):  # another process may have been faster
            shutil.rmtree(target, ignore_errors=True)
            try:
                built.rename(target)
            except OSError:
                if not is_whole(name):
                    raise


def _fetch_jar(context: MavenContext, jar: Jar) -> Path:
    import requests
    from jgo.constants import default_maven_repo

    group, artifact, version, *classifier = jar.coordinate.split(":")
    held = default_maven_repo().joinpath(*group.split("."), artifact, version, jar.filename)
    if held.exists() and held.stat().st_size == jar.size and _checksum(held) == jar.sha256:
        return held
    try:
        return context.project(group, artifact).at_version(version).artifact("".join(classifier), "jar").resolve()
    except (requests.RequestException, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{jar.coordinate} could not be fetched from {', '.join(context.remote_repos.values())}: {reason}. Is the "
            "network there? TILLWATCH_STACK_MAVEN names another Maven repository."
        ) from None


def _context(repository: Path) -> MavenContext:
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise UserError(
            "The packages of the stack are not installed: run `make stack`, or `sh deploy/bootstrap spark`."
        ) from None
    maven = StackSettings.load().maven
    return MavenContext(repo_cache=repository, remote_repos={"settings": maven} if maven else None, timeout=_TIMEOUT_S)


@contextmanager
def _staging() -> Iterator[Path]:
    """A directory of this process beside the sets, so that a set comes into being by one rename."""
    base = cache_dir()
    try:
        base.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="incoming-", dir=base))
    except OSError as error:
        raise UserError(
            f"The jars cannot be kept in {base}: {error.strerror}. Set TILLWATCH_STACK_JARS to another directory."
        ) from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _checksum(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def lock(names: Sequence[str] = (*SETS, *OF_CDC, *OF_TESTS)) -> None:
    """Resolve deploy/jars/jars.toml into locks; every jar is downloaded to take its checksum."""
    wanted = tomllib.loads((LOCKS / "jars.toml").read_text(encoding="utf-8"))
    with _staging() as staging:
        context = _context(staging / "repository")
        for name in names:
            coordinates = list(wanted[name]["jars"])
            if wanted[name].get("transitive", True):
                coordinates = _with_what_they_need(context, coordinates)

            def entry(coordinate: str) -> str:
                path = _fetch_jar(context, Jar("", -1, coordinate))
                return f"{_checksum(path)} {path.stat().st_size} {coordinate}"

            with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
                lines = list(pool.map(entry, sorted(coordinates)))
            text = f"# Written by `python -m tillwatch.jars lock`: SHA-256, bytes, coordinate.\n{'\n'.join(lines)}\n"
            (LOCKS / f"{name}.lock").write_text(text, encoding="utf-8")
            print(f"{name}: {len(lines)} jars")


def _with_what_they_need(context: MavenContext, coordinates: Sequence[str]) -> list[str]:
    dependencies = [context.create_dependency(coordinate) for coordinate in coordinates]
    for dependency in dependencies:
        # Its managed versions are for its own build; only what its tree says counts.
        dependency.raw = True
    given, needed = context.resolver.resolve(dependencies)
    found = []
    for each in (*given, *needed):
        parts = (each.groupId, each.artifactId, each.version, *((each.classifier,) if each.classifier else ()))
        found.append(":".join(parts))
    return found


def main() -> None:
    words = sys.argv[1:]
    with exit_on_user_error():
        if words == ["lock"]:
            lock()
        elif set(words) <= {*SETS, *OF_CDC}:
            names = words or SETS
            for name, where in fetch(names).items():
                # A set alone is asked for by $(…).
                print(where if len(names) == 1 else f"{name:<8} {where}")
            verify(names)
        else:
            raise UserError(
                f"'{' '.join(words)}' is not understood; `python -m tillwatch.jars` takes `lock`, nothing, or some of "
                f"{', '.join((*SETS, *OF_CDC))}."
            )


if __name__ == "__main__":
    main()
