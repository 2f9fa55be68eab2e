"""Bytes that go out to clients and come back as they were."""

from __future__ import annotations

import hashlib
import hmac

_PROOF_BYTES = 32


class Seal:
    """Signs what one kind of bytes says; each kind has a key of its own, so that none passes for another."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sealed(self, body: bytes) -> bytes:
        return self._proof(body) + body

    def opened(self, sealed: bytes) -> bytes | None:
        """What was sealed; None when it was not sealed here."""
        proof, body = sealed[:_PROOF_BYTES], sealed[_PROOF_BYTES:]
        return body if hmac.compare_digest(proof, self._proof(body)) else None

    def of(self, kind: str) -> Seal:
        """The seal for another kind of bytes, by the same owner."""
        return Seal(self._proof(f"seal of {kind}".encode()))

    def _proof(self, body: bytes) -> bytes:
        # Keyed BLAKE2, which takes a fifth of the time of OpenSSL's HMAC for so few bytes.
        return hashlib.blake2b(body, key=self._key, digest_size=_PROOF_BYTES).digest()
