"""Exits with 0 when something answers: `python -IS healthy.py http://HOST:PORT/PATH | tcp://HOST:PORT`.

For health checks of containers, which run it every few seconds: Python's own library, and little of it.
"""

import socket
import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

WITHIN_S = 4.0


def answers(address: str) -> bool:
    """Whether an http address answers 200, or a tcp address takes a connection."""
    where = urlsplit(address)
    if not where.hostname or not where.port:
        return False
    try:
        if where.scheme == "tcp":
            socket.create_connection((where.hostname, where.port), WITHIN_S).close()
            return True
        connection = HTTPConnection(where.hostname, where.port, timeout=WITHIN_S)
        connection.request("GET", where.path or "/")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)
