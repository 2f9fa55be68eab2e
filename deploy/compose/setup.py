"""Makes the secrets that docker-compose.yml needs, where they are missing, in the volume that its services read.

    python setup.py [--into /secrets] [--memory-gib 14] [--disk-gib 10]

A secret of your own comes as TILLWATCH_NAME or, in a file, as TILLWATCH_NAME_FILE, and takes the place of the one that
was made, which stays beside it as NAME.before. What is there is never made anew. The first time it looks whether this
machine has the memory and the disk; each time, where SETUP_S3PROXY_DATA names S3Proxy's folder, whether it is MinIO's.
Python's own library only.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

FORMAT = 1
"""Of the volume; one with a higher number was made by a later version."""

# Without letters and digits that are taken for one another: people type it.
_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_DIGITS = "23456789"


class Refused(Exception):
    """What a user can mend, in one sentence."""


def _typed() -> str:
    """Four groups of four, each of letters but for one digit: 70 bits, and what Dremio asks of a password."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(3)) + secrets.choice(_DIGITS) for _ in range(4))
    return "-".join(groups)


def _sent() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Secret:
    """One file of the volume, the variable that brings your own, and what it has to be like."""

    file: str
    variable: str
    make: Callable[[], str]
    needs_digit: bool = False


SECRETS = (
    Secret("dremio_password", "TILLWATCH_DREMIO_PASSWORD", _typed, needs_digit=True),
    Secret("s3_secret_key", "TILLWATCH_S3_SECRET_KEY", _sent),
    Secret("console_password", "TILLWATCH_CONSOLE_PASSWORD", _typed),
    Secret("console_cookie_secret", "TILLWATCH_CONSOLE_COOKIE_SECRET", _sent),
    Secret("notifier_api_token", "TILLWATCH_NOTIFIER_API_TOKEN", _sent),
    Secret("notifier_token", "TILLWATCH_NOTIFIER_TOKEN", _sent),
    Secret("database_password", "TILLWATCH_DATABASE_PASSWORD", _sent),
)
SHORTEST = 8


def given(secret: Secret, environment: Mapping[str, str]) -> str | None:
    """The secret that somebody brings; None where nobody does. Raises Refused for one that will not do."""
    variable, value = secret.variable, environment.get(secret.variable)
    if path := environment.get(f"{secret.variable}_FILE"):
        variable = f"{secret.variable}_FILE"
        try:
            value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Refused(
                f"{variable} names {path}, which cannot be read: {reason}; put the file into deploy/secrets, "
                "which is /run/own in the containers, or unset the variable."
            ) from None
    if not value and variable == secret.variable:
        return None
    if not value or len(value) < SHORTEST or any(letter.isspace() for letter in value):
        raise Refused(f"{variable} has to have at least {SHORTEST} characters and no blank; give another one.")
    if secret.needs_digit and not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        raise Refused(f"{variable} needs a letter and a digit, or Dremio does not take it; give another one.")
    return value


def check_machine(into: Path, memory_gib: float, disk_gib: float) -> None:
    """Raises Refused where the machine has less; 0 asks for nothing."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if memory < memory_gib:
        raise Refused(
            f"This machine (or Docker's) has {memory:.1f} GiB of memory and the containers need {memory_gib:g}: use "
            "docker-compose.small.yml as well, give Docker more, or set SETUP_MEMORY_GIB=0 to try it all the same."
        )
    disk = shutil.disk_usage(into).free / 2**30
    if disk < disk_gib:
        raise Refused(
            f"Docker's disk has {disk:.1f} GiB left and the containers need {disk_gib:g}: make room "
            "(`docker system df` tells what takes it), or set SETUP_DISK_GIB=0 to try it all the same."
        )


def check_format(into: Path) -> None:
    """Raises Refused for a volume of a later version, or one that is no volume of ours."""
    try:
        text = (into / "format").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return  # new, or a first start that did not come to its end: what is missing is made
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"The volume at {into} cannot be read ({error}); nothing was changed.") from None
    if not text.isdigit() or int(text) > FORMAT:
        raise Refused(
            f"The volume at {into} has the format '{text}', and this version of tillwatch knows {FORMAT}: start the "
            "version that made it. Nothing was changed."
        )


def check_s3(environment: Mapping[str, str]) -> None:
    """Raises Refused where an S3 server would start on what the other one wrote, and show none of its files."""
    data = Path(environment.get("SETUP_S3_DATA") or "/none")
    found = {path.name for path in data.iterdir()} - {"lost+found"} if data.is_dir() else set()
    if not found:
        return
    of_minio = ".minio.sys" in found
    if environment.get("SETUP_S3_SERVER") == "s3proxy" and of_minio:
        raise Refused(
            "The volume minio-data was written by MinIO, whose files S3Proxy does not read: start without "
            "docker-compose.s3proxy.yml, or restore a backup into an empty volume (docs/operations.md). "
            "Nothing was changed."
        )
    if environment.get("SETUP_S3_SERVER") == "minio" and not of_minio:
        raise Refused(
            "The volume minio-data was written by S3Proxy, whose files MinIO does not read: start with "
            "docker-compose.s3proxy.yml as well (COMPOSE_FILE in .env makes every command mean it), or restore a "
            "backup into an empty volume (docs/operations.md). Nothing was changed."
        )


def run(into: Path, environment: Mapping[str, str]) -> None:
    """Make what is missing in the volume. Raises Refused before anything is written."""
    check_format(into)
    check_s3(environment)
    brought = {secret.file: value for secret in SECRETS if (value := given(secret, environment)) is not None}
    for secret in SECRETS:
        path = into / secret.file
        held = path.read_text(encoding="utf-8") if path.exists() else ""
        value = brought.get(secret.file) or held or secret.make()
        if value == held:
            print(f"{secret.file}: there already")
            continue
        if held:
            # Whoever still knows only the old one, like a Dremio where it was not changed, can be told it.
            _write(path.with_name(f"{path.name}.before"), held)
        _write(path, value)
        print(f"{secret.file}: {f'taken from {secret.variable}' if secret.file in brought else 'made'}")
        if secret.file == "console_password" and secret.file not in brought:
            print(f"\n    The console's password, shown this once: {value}\n    Any name does.\n")
    key = (into / "s3_secret_key").read_text(encoding="utf-8")
    _write(into / "nessie.properties", nessie_properties(key, environment))
    _write(into / "format", str(FORMAT))
    print("All secrets are there.")


def nessie_properties(key: str, environment: Mapping[str, str]) -> str:
    """What Nessie's own Iceberg REST door needs of S3; others read through it, tillwatch does not."""
    options = "nessie.catalog.service.s3.default-options"
    properties = {
        # Where S3 is away, Nessie is well all the same.
        "nessie.catalog.object-stores.health-check.enabled": "false",
        "nessie.catalog.default-warehouse": "warehouse",
        "nessie.catalog.warehouses.warehouse.location": environment.get("TILLWATCH_NESSIE_WAREHOUSE")
        or "s3://warehouse/wh",
        f"{options}.endpoint": environment.get("TILLWATCH_S3_ENDPOINT", ""),
        f"{options}.region": environment.get("TILLWATCH_S3_REGION") or "us-east-1",
        f"{options}.path-style-access": "true",
        f"{options}.request-signing-enabled": "false",
        f"{options}.access-key": "urn:nessie-secret:quarkus:s3creds",
        "s3creds.name": environment.get("TILLWATCH_S3_ACCESS_KEY", ""),
        "s3creds.secret": key,
    }
    return "".join(f"{name}={value.replace('\\', '\\\\')}\n" for name, value in properties.items())


def _write(path: Path, text: str) -> None:
    """Whole or not at all. Services of other images read it, each under a user of its own."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(0o444)
    new.replace(path)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="setup.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, default=Path("/secrets"))
    parser.add_argument("--memory-gib", type=float, default=0)
    parser.add_argument("--disk-gib", type=float, default=0)
    arguments = parser.parse_args(words)
    try:
        if not (arguments.into / "format").exists():
            # Later starts are not kept from what runs already.
            check_machine(arguments.into, arguments.memory_gib, arguments.disk_gib)
        run(arguments.into, os.environ)
    except Refused as refused:
        print(f"setup: {refused}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"setup: {arguments.into} cannot be used: {error.strerror}{where}; look at the volume.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
