"""How Slack refuses."""

from __future__ import annotations

from typing import Any


class SlackError(Exception):
    """Answered as {"ok": false, "error": …}. reasons: what exactly is wrong, where Slack tells."""

    def __init__(self, code: str, *reasons: str, **more: Any) -> None:
        super().__init__(code)
        self.code = code
        self.reasons = reasons
        self.more = more

    def answer(self) -> dict[str, Any]:
        body: dict[str, Any] = {"ok": False, "error": self.code, **self.more}
        if self.reasons:
            body["errors"] = list(self.reasons)
            body["response_metadata"] = {"messages": [f"[ERROR] {reason}" for reason in self.reasons]}
        return body
