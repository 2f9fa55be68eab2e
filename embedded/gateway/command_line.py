"""What may be said on the command line of the gateway, in place of settings."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded.gateway.settings import GatewaySettings
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import profile_of
from lakehouse.settings.dremio import DremioSettings
from lakehouse.user_error import UserError
from pipeline.settings import NessieSettings

_OWN_DATA_DIR = Path(".tillwatch-gateway")


@dataclass(frozen=True)
class Start:
    """How a gateway is started; without `nessie` it answers from the data directory."""

    data_dir: Path
    port: int
    gateway: GatewaySettings
    dremio: DremioSettings
    nessie: NessieSettings | None


def read(words: Sequence[str] | None = None) -> Start:
    """The settings, with what the command line says in their place. Raises UserError for what cannot be."""
    said = _parser().parse_args(words)
    shared = Shared.load(**_given(data_dir=said.data_dir))
    gateway = GatewaySettings.load(**_given(host=said.host, catalog=said.nessie and "nessie"))
    if said.host is not None:
        _check_host(said.host)
    data_dir = shared.data_dir
    if gateway.catalog == "embedded" and said.data_dir is not None and profile_of(data_dir) is None:
        raise UserError(
            f"--data-dir {said.data_dir} is no data directory of tillwatch; name one that `make demo` or "
            "`tillwatch ingest` has made."
        )
    if said.nessie is not None and "data_dir" not in shared.model_fields_set:
        # What it keeps of its own must not lie among the tables of the demo.
        data_dir = _OWN_DATA_DIR
    return Start(
        data_dir,
        shared.port("gateway") if said.port is None else _port(said.port),
        gateway,
        DremioSettings.load(**_given(user=said.user)),
        NessieSettings.load(**_given(uri=said.nessie)) if gateway.catalog == "nessie" else None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tillwatch gateway",
        description="Answers SQL over Arrow Flight as Dremio does, from the tables in a data directory or in Nessie. "
        "Settings: sections gateway, dremio, nessie and s3 of config/tillwatch.yaml; what is said here wins. "
        "The password is dremio.password, best given as TILLWATCH_DREMIO_PASSWORD_FILE.",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="whose tables to answer from; else the setting data_dir")
    parser.add_argument(
        "--nessie",
        metavar="URI",
        help="answer from the tables of a Nessie, like http://HOST:19120/api/v2, whose files lie in the S3 of "
        "section s3; DIR then holds what the gateway keeps for itself",
    )
    parser.add_argument("--host", help="address to listen on; else the setting gateway.host")
    parser.add_argument("--port", help="port to listen on; else 32010 + TILLWATCH_PORT_OFFSET")
    parser.add_argument("--user", metavar="NAME", help="user that may sign in; else the setting dremio.user")
    return parser


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise UserError(f"--port has the value '{text}'; expected a number from 1 to 65535.")
    return int(text)


def _check_host(host: str) -> None:
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except (OSError, UnicodeError):
            raise UserError(f"--host has the value '{host}'; expected an address of this machine.") from None
