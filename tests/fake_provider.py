"""An OpenID Connect provider that lets in whoever a test says: discovery, and the flow with a code."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


class FakeProvider:
    """`claims` are those of whoever signs in next; `denied` makes it say that nobody may, `forgetful` that it knows no
    code."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.denied = ""
        self.forgetful = False
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.post(self)

            def log_message(self, *_given: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        address = urlsplit(handler.path)
        if address.path == "/.well-known/openid-configuration":
            told = {"issuer": self.issuer}
            told |= {f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token", "userinfo")}
            self._answer(handler, told)
            return
        asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
        self.asked.append(asked)
        code = f"code-{len(self.asked)}"
        self._codes[code] = asked
        back = {"error": "access_denied", "error_description": self.denied} if self.denied else {"code": code}
        handler.send_response(302)
        handler.send_header("Location", f"{asked['redirect_uri']}?{urlencode({**back, 'state': asked['state']})}")
        handler.end_headers()

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        said = {name: values[-1] for name, values in parse_qs(body).items()}
        asked = self._codes.pop(said.get("code", ""), None)
        proved = asked is not None and said.get("redirect_uri") == asked["redirect_uri"]
        if proved and asked is not None and "code_challenge" in asked:
            digest = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
            proved = base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        elif proved:
            proved = said.get("client_secret") == "its secret"
        if self.forgetful or not proved:
            self._answer(handler, {"error": "invalid_grant"}, 400)
            return
        self._answer(handler, {"access_token": "an access token", "token_type": "Bearer", "id_token": self._token()})

    def _token(self) -> str:
        base: dict[str, Any] = {"iss": self.issuer, "sub": "1", "aud": "tillwatch", "exp": time.time() + 300}
        parts = ({"alg": "RS256"}, base | self.claims)
        return ".".join([*(_encoded(json.dumps(part).encode()) for part in parts), _encoded(b"a signature")])

    def _answer(self, handler: BaseHTTPRequestHandler, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
