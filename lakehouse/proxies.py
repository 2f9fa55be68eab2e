"""What is sent to this machine's own addresses goes through no proxy that the environment names."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from functools import cache

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
# grpc looks at its own list in place of the other where there is one; elsewhere either spelling may win.
_EXCEPTIONS = ("no_proxy", "NO_PROXY")
_EXCEPTIONS_OF_GRPC = "no_grpc_proxy"


@cache
def own_names() -> tuple[str, ...]:
    """Names and addresses that lead back to this machine. Some clients read the network, others only each address."""
    import psutil  # here: who asks for no address of this machine does without it

    addresses = {
        address.address
        for of_interface in psutil.net_if_addrs().values()
        for address in of_interface
        if address.family in (socket.AF_INET, socket.AF_INET6) and "%" not in address.address
    }
    usual = ("localhost", "127.0.0.1", "127.0.0.0/8", "0.0.0.0", "::1", "[::1]")  # nothing is bound
    return tuple(dict.fromkeys((*usual, socket.gethostname(), *sorted(addresses))))


def keep_own_traffic_off(environment: MutableMapping[str, str] = os.environ) -> None:
    """Add this machine to the exceptions of the proxies that the environment names, for this process and its children.

    Python's urllib, grpc, obstore, curl in DuckDB and Java's S3 client all read them there. Without a proxy nothing
    changes, for on macOS a list of exceptions would put the system's own proxies out of use.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    held = {name: environment[name] for name in _EXCEPTIONS if environment.get(name)}
    for name in _EXCEPTIONS:
        environment[name] = _with_own(held.get(name) or next(iter(held.values()), ""))
    if environment.get(_EXCEPTIONS_OF_GRPC):
        environment[_EXCEPTIONS_OF_GRPC] = _with_own(environment[_EXCEPTIONS_OF_GRPC])


def _with_own(exceptions: str) -> str:
    held = [name.strip() for name in exceptions.split(",") if name.strip()]
    # A * means all: with names beside it Python would no longer read it so.
    return exceptions if held == ["*"] else ",".join(dict.fromkeys((*held, *own_names())))
