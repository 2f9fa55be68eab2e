"""The ports of this installation, and whether one is free."""

from __future__ import annotations

import socket

import psutil

from lakehouse.user_error import UserError

PORTS = {
    "console": 5006,
    "notifier": 5007,
    "sandbox": 5008,
    "ingest": 5009,
    "smtp": 5010,
    "lite": 8501,
    "gateway": 32010,
    "kafka": 29092,
    "kafka_controller": 29093,
    "nessie": 19120,
    "nessie_management": 19121,
    "s3": 9000,
    "connect": 8083,
    "postgres": 15432,  # not 5432: a database of the machine's own may be there
}


def claim_port(port: int, setting: str = "TILLWATCH_PORT_OFFSET", host: str = "127.0.0.1") -> None:
    """Check that a port is free. Raises UserError naming the port, the process that holds it and `setting`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise UserError(f"Port {port} is held by {_holder(port)}; end it or change {setting}.") from None


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                process = psutil.Process(connection.pid)
                return f"process {connection.pid} ({process.name()})"
    except psutil.Error:
        pass  # macOS tells the holder to root only
    return "another process"
