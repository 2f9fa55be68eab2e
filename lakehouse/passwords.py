"""Hashes of passwords by scrypt, written as Werkzeug does: scrypt:N:r:p$SALT$HEX, so that other tools can make them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

FORM = r"scrypt:\d{1,7}:\d{1,2}:\d{1,2}\$[A-Za-z0-9]{8,64}\$[0-9a-f]{128}"
_N, _R, _P = 2**15, 8, 1
MOST_MEMORY = 256 << 20
"""Bytes that one look at a password may take: what a file asks for beyond it is refused."""


def hash_of(password: str) -> str:
    """Another one at each call, for its salt is new."""
    salt = secrets.token_hex(8)
    return f"scrypt:{_N}:{_R}:{_P}${salt}${_scrypt(password, salt, _N, _R, _P)}"


def fits(password: str, hashed: str) -> bool:
    """Whether a password is the one of a hash. Takes about 0.1 s of a core, on purpose."""
    method, salt, digest = hashed.split("$")
    n, r, p = map(int, method.split(":")[1:])
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), digest)


def is_hash(text: str) -> bool:
    """Whether it is one that can be looked at here."""
    if not re.fullmatch(FORM, text):
        return False
    n, r, p = map(int, text.split("$")[0].split(":")[1:])
    return n >= 2**14 and n & (n - 1) == 0 and r >= 1 and 1 <= p <= 16 and 128 * n * r * p <= MOST_MEMORY


def _scrypt(password: str, salt: str, n: int, r: int, p: int) -> str:
    digest = hashlib.scrypt(password.encode(), salt=salt.encode(), n=n, r=r, p=p, maxmem=MOST_MEMORY + (1 << 20))
    return digest.hex()
