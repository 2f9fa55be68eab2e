"""Who asks the API, by token, and for whom: dependencies of its operations. The tokens are in the app's state."""

from __future__ import annotations

from typing import Annotated, NoReturn
from urllib.parse import unquote

from fastapi import Depends, Header, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from lakehouse.oncall import KEY_HEADER, PERSON_HEADER
from lakehouse.tokens import Right, Token
from notifier.people import Doer
from notifier.tokens import Tokens


def refuse(status: int, sentence: str) -> NoReturn:
    raise HTTPException(status, sentence)


def token_of(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> Token:
    """The token of a request; without one, 401."""
    tokens: Tokens = request.app.state.tokens
    token = tokens.of(given.credentials) if given is not None else None
    if token is None:
        raise HTTPException(
            401,
            "This needs `Authorization: Bearer TOKEN`, with a token of tokens.json in the notifier's data directory or "
            "notifier.api_token.",
            {"WWW-Authenticate": "Bearer"},
        )
    return token


def doer_of(
    token: Annotated[Token, Depends(token_of)],
    person: Annotated[str | None, Header(alias=PERSON_HEADER, max_length=300)] = None,
) -> Doer:
    """Who acts: 403 for a token that may only read, or that names a person and may not."""
    if not token.may(Right.ACT):
        refuse(403, f"The token '{token.name}' may read, and not act.")
    if person is None:
        return Doer(token.name if token.right is not Right.BEHALF else "unverified", token.name)
    if token.right is not Right.BEHALF:
        refuse(403, f"The token '{token.name}' names no person: only one with the right `behalf` does.")
    return Doer(unquote(person).strip()[:100] or "unverified", token.name)


By = Annotated[Doer, Depends(doer_of)]
Key = Annotated[str | None, Header(alias=KEY_HEADER, min_length=8, max_length=200)]
Match = Annotated[str | None, Header(alias="If-Match", max_length=40)]
