"""Exits with 0 when something answers: `python -IS healthy.py ADDRESS [METRIC SECONDS]`.

ADDRESS is http://HOST:PORT/PATH or tcp://HOST:PORT. A metric on that page, a time in seconds since the epoch, has to be
at most so many seconds ago. For health checks of containers, which run it often: Python's own library, little of it.
"""

import sys
import time
from http.client import HTTPConnection, HTTPException
from socket import create_connection
from urllib.parse import urlsplit

WITHIN_S = 4.0


def well(address: str, metric: str = "", seconds: str = "") -> bool:
    """Whether an http address answers 200, with a metric that is not older; or a tcp address takes a connection."""
    where = urlsplit(address)
    if not where.hostname or not where.port:
        return False
    try:
        if where.scheme == "tcp":
            create_connection((where.hostname, where.port), WITHIN_S).close()
            return True
        connection = HTTPConnection(where.hostname, where.port, timeout=WITHIN_S)
        connection.request("GET", where.path or "/")
        answer = connection.getresponse()
        page = answer.read().decode()
    except (OSError, HTTPException, ValueError):
        return False
    if answer.status != 200 or not metric:
        return answer.status == 200
    found = [float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{metric} ")]
    return bool(found) and time.time() - found[0] <= float(seconds)


if __name__ == "__main__":
    sys.exit(0 if well(*sys.argv[1:]) else 1)
