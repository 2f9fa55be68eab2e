"""Sign-ins and sessions hold for each user, whatever the others do, and take no memory that grows."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedded.gateway.errors import Refusal
from embedded.gateway.sessions import TOKEN_LIFE_S, Sessions
from embedded.gateway.users import Guesses, Users

NAMES = {"ada": "lovelace", "grace": "hopper"}


def basic(user: str, password: str) -> dict[str, list[str]]:
    return {"authorization": ["Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()]}


def test_of_one_users_passwords_few_are_looked_at_at_a_time_and_right_ones_take_their_turn() -> None:
    looking, most, lock = 0, 0, threading.Lock()

    class Slow(Users):
        def fits(self, name: str, password: str) -> bool:
            nonlocal looking, most
            with lock:
                looking += 1
                most = max(most, looking)
            time.sleep(0.02)
            with lock:
                looking -= 1
            return super().fits(name, password)

    guesses = Guesses(sleep=lambda _: None)
    sessions = Sessions(Slow({"ada": "lovelace"}), 60, guesses=guesses)
    with ThreadPoolExecutor(20) as pool:
        callers = list(pool.map(lambda _: sessions.enter(basic("ada", "lovelace"), handshake=True), range(20)))
    assert [caller.user for caller in callers] == ["ada"] * 20
    assert most == guesses.at_once


def test_a_users_sessions_make_way_for_its_own_and_for_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedded.gateway.sessions._MOST_SESSIONS", 20)
    sessions = Sessions(Users({"ada": "lovelace", "grace": "hopper"}), 60)
    opened = {user: sessions.enter(basic(user, word), handshake=False).session for user, word in NAMES.items()}
    for _ in range(50):
        sessions.enter(basic("grace", "hopper"), handshake=False)
    kept, lost = ({"cookie": [f"SESSION_ID={session.id}"]} for session in opened.values() if session is not None)
    assert sessions.enter(basic("ada", "lovelace") | kept, handshake=False).session is opened["ada"]
    with pytest.raises(Refusal, match="UserSession is not available"):
        sessions.enter(basic("grace", "hopper") | lost, handshake=False)


def test_tokens_without_end_take_no_memory_and_each_lives_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedded.gateway.sessions._TOKENS_KNOWN", 10)
    now = 0.0
    sessions = Sessions(Users({"ada": "lovelace"}), 60, clock=lambda: now)

    def entered(token: str) -> str:
        return sessions.enter({"authorization": [f"Bearer {token}"]}, handshake=True).user

    tokens = [sessions.enter(basic("ada", "lovelace"), handshake=True).token for _ in range(30)]
    assert [entered(token) for token in tokens * 2] == ["ada"] * 60
    assert len(sessions._tokens) == 10
    for wrong in (tokens[0][:-1], tokens[0] + "0", "x" * 40):
        with pytest.raises(Refusal):
            entered(wrong)
    now = TOKEN_LIFE_S
    with pytest.raises(Refusal):
        entered(tokens[-1])


def test_a_session_lasts_while_it_is_used() -> None:
    now = 0.0
    sessions = Sessions(Users({"ada": "lovelace"}), 60, clock=lambda: now)
    opened = sessions.enter(basic("ada", "lovelace"), handshake=False).session
    assert opened is not None
    mine = basic("ada", "lovelace") | {"cookie": [f"SESSION_ID={opened.id}"]}
    for _ in range(2):
        now += 59
        assert sessions.enter(mine, handshake=False).session is opened
    now += 60
    with pytest.raises(Refusal, match="UserSession is not available"):
        sessions.enter(mine, handshake=False)
