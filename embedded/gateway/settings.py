"""Settings of the gateway."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from embedded.gateway.users import Users, pairs_of
from lakehouse.settings.base import Section
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.durations import Duration
from lakehouse.user_error import UserError


class GatewaySettings(Section, section="gateway"):
    """How the gateway serves. User, password and token of section dremio sign in too: this machine's own parts'."""

    catalog: Literal["embedded", "nessie"] = Field(
        "embedded", description="whose tables it answers from: embedded ingest's, or Nessie's in S3"
    )
    host: str = Field("127.0.0.1", description="address it listens on")
    tls_certificate: Path | None = Field(None, description="PEM file of its certificate; empty: no TLS")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key")
    insecure: bool = Field(
        False, description="take the default password, or no TLS, where others than this machine can reach it"
    )
    threads: int = Field(
        1, ge=1, le=64, description="of DuckDB beside the callers' own (count); 1 costs least for small answers"
    )
    memory_limit: int = Field(128, ge=32, description="of DuckDB; what does not fit goes to disk (MB)")
    rows_in_memory: int = Field(200_000, ge=0, description="rows of small files kept in DuckDB's memory (count)")
    files_on_disk: int = Field(1024, ge=16, description="copies of data files from S3 kept in the data directory (MB)")
    statement_timeout: Duration = Field(
        timedelta(seconds=60), description="planning a statement is cancelled after it, and so is running it"
    )
    spill_limit: int = Field(1024, ge=1, description="of disk for what does not fit into memory_limit (MB)")
    most_rows: int = Field(10_000_000, ge=1, description="rows of one answer, at most (count)")
    heavy_at_once: int = Field(
        2, ge=1, le=64, description="heavy statements, each in a process with a memory_limit of its own (count)"
    )
    statements_a_user: int = Field(100, ge=1, description="statements of one user at a time (count)")
    passwords: SecretStr = Field(
        SecretStr(""), description="further users, NAME=PASSWORD, NAME=PASSWORD; scrypt hashes too; better as *_FILE"
    )
    tokens: SecretStr = Field(
        SecretStr(""), description="NAME=TOKEN, NAME=TOKEN: in place of a password, or as bearer; better as *_FILE"
    )
    session_ttl: Duration = Field(timedelta(hours=2), description="a session unused for so long is forgotten")

    @field_validator("passwords", "tokens")
    @classmethod
    def _pairs(cls, value: SecretStr) -> SecretStr:
        pairs_of(value.get_secret_value())
        return value


def users_of(settings: GatewaySettings, dremio: DremioSettings) -> Users:
    """All who may sign in. Raises UserError for a name that is given twice, a bad hash and a short token."""
    passwords = pairs_of(settings.passwords.get_secret_value())
    if dremio.user in passwords:
        raise UserError(f"The user '{dremio.user}' stands in gateway.passwords and is dremio.user; keep one of them.")
    tokens, own = pairs_of(settings.tokens.get_secret_value()), dremio.token.get_secret_value()
    if own and dremio.user in tokens:
        raise UserError(f"The user '{dremio.user}' has a token in gateway.tokens and is dremio.user; keep one of them.")
    if own:
        tokens[dremio.user] = own
    return Users({dremio.user: dremio.password.get_secret_value()} | passwords, tokens)


def check_door(settings: GatewaySettings, dremio: DremioSettings) -> None:
    """Refuse what would let in anybody on the network, unless it is said to be meant. Raises UserError."""
    if settings.insecure or _is_loopback(settings.host):
        return
    open_to = []
    if dremio.password.get_secret_value() == DremioSettings.model_fields["password"].default.get_secret_value():
        open_to.append("takes the default password (set dremio.password)")
    if settings.tls_certificate is None:
        open_to.append("sends passwords and rows in the clear (set gateway.tls_certificate and gateway.tls_key)")
    if open_to:
        raise UserError(
            f"The gateway on {settings.host} can be reached from other machines and {' and '.join(open_to)}; "
            "or set gateway.insecure to true where that is meant, behind a network of its own, say."
        )


def tls_pair(settings: GatewaySettings) -> list[tuple[bytes, bytes]]:
    """Certificate and key for the server; empty without TLS. Raises UserError for files that do not go together."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return []
    if certificate is None or key is None:
        raise UserError("Settings 'gateway.tls_certificate' and 'gateway.tls_key' go together: set both or none.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        return [(certificate.read_bytes(), key.read_bytes())]
    except OSError as error:  # SSLError is one
        reason = error.strerror or str(error)
        raise UserError(
            f"gateway.tls_certificate {certificate} and gateway.tls_key {key} cannot be used: {reason}; "
            "give a certificate and its key as PEM files."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
