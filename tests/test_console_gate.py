"""Who comes in, and what they may do: passwords, back-off, roles, who is removed, what the settings refuse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.gate import Gate, SignIn, gate_of
from console.oidc import cookie_from, discover
from console.on_call.acts import Actor
from console.settings import ConsoleSettings
from lakehouse.passwords import fits, hash_of, is_hash
from lakehouse.user_error import UserError
from tests.fake_provider import FakeProvider

OTTER, HERON = hash_of("otter"), hash_of("heron")
PEOPLE = f"""people:
  - {{person: ada, role: operator, password: "{OTTER}"}}
  - {{person: eve, role: viewer, password: "{HERON}"}}
  - {{person: bob, role: operator}}
"""


class Porch:
    """A gate before a file of people, and a clock that tests move."""

    def __init__(self, folder: Path, way: SignIn = SignIn.PEOPLE) -> None:
        self.now = 0.0
        self.file = folder / "people.yaml"
        self.file.write_text(PEOPLE, encoding="utf-8")
        self.gate = Gate(way, self.file, "kettle", lambda: self.now)

    def try_(self, name: str, password: str, address: str = "10.0.0.1") -> bool:
        return self.gate.lets_in(name, password, address)

    def actor(self, name: str) -> Actor | None:
        return self.gate.actor(self.gate.cookie_of(name))

    def write(self, text: str) -> None:
        """Another file, seen after a while."""
        before = self.file.stat().st_mtime_ns
        self.file.write_text(text, encoding="utf-8")
        os.utime(self.file, ns=(before + 10**9, before + 10**9))
        self.now += 60


@pytest.fixture
def porch(tmp_path: Path) -> Porch:
    return Porch(tmp_path)


def test_a_hash_fits_its_password_alone_and_never_looks_the_same() -> None:
    assert fits("otter", OTTER)
    assert not fits("Otter", OTTER)
    assert hash_of("otter") != OTTER
    assert is_hash(OTTER)
    assert not is_hash(OTTER.replace("32768", "1048576"))
    assert not is_hash("otter")


def test_people_come_in_with_their_own_password_and_may_what_their_role_says(porch: Porch) -> None:
    assert porch.try_("ada", "otter")
    assert porch.actor("ada") == Actor("ada", may_act=True)
    assert porch.actor("eve") == Actor("eve", may_act=False)
    assert not porch.try_("ada", "heron")
    assert not porch.try_("nobody", "otter")
    # Who has no password is on duty elsewhere.
    assert not porch.try_("bob", "")
    assert porch.gate.actor("ada") is None
    assert porch.gate.actor("ada~0123456789abcdef") is None


def test_wrong_tries_of_a_name_from_an_address_wait_longer_and_longer_and_others_do_not(porch: Porch) -> None:
    for _ in range(5):
        assert not porch.try_("ada", "guess")
    waits = []
    for _ in range(4):
        waits.append(porch.gate.wait_s("ada", "10.0.0.1"))
        assert not porch.try_("ada", "otter")  # while it waits not even the right one
        porch.now += waits[-1]
        assert not porch.try_("ada", "guess")
    assert waits == [2.0, 4.0, 8.0, 16.0]
    assert porch.try_("ada", "otter", address="10.0.0.2")
    assert porch.try_("eve", "heron")
    porch.now += 300
    assert porch.try_("ada", "otter")


def test_an_address_that_tries_many_names_waits_too(porch: Porch) -> None:
    porch.gate.way = SignIn.PASSWORD
    for number in range(50):
        porch.try_(f"name-{number}", "guess")
    assert porch.gate.wait_s("another", "10.0.0.1") > 0
    assert porch.gate.wait_s("another", "10.0.0.2") == 0


def test_who_is_removed_or_gets_another_password_is_out_within_a_minute(porch: Porch) -> None:
    ada, eve = porch.gate.cookie_of("ada"), porch.gate.cookie_of("eve")
    porch.write(PEOPLE.replace("operator", "viewer").replace(HERON, OTTER))
    assert porch.gate.actor(ada) == Actor("ada", may_act=False)
    assert porch.gate.actor(eve) is None
    porch.write("people: []")
    assert porch.gate.actor(ada) is None
    # A file that is wrong leaves the people of before.
    porch.write("people: [{person: ada, role: king}]")
    assert porch.gate.actor(ada) is None
    porch.write(PEOPLE)
    assert porch.gate.actor(ada) == Actor("ada", may_act=True)


def test_one_password_is_one_operator_named_everyone(tmp_path: Path) -> None:
    porch = Porch(tmp_path, SignIn.PASSWORD)
    assert porch.try_("whoever", "kettle")
    assert not porch.try_("ada", "otter")
    assert porch.actor("whoever") == Actor("everyone", may_act=True)
    assert porch.gate.actor(None) is None


def way(monkeypatch: pytest.MonkeyPatch, folder: Path, people: str = "people: []", **settings: str) -> SignIn:
    (folder / "people.yaml").write_text(people, encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_NOTIFIER_PEOPLE", str(folder / "people.yaml"))
    return gate_of(ConsoleSettings.load(**settings)).way


def test_how_people_sign_in_follows_from_what_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert way(monkeypatch, tmp_path) is SignIn.NONE
    assert way(monkeypatch, tmp_path, address="::1") is SignIn.NONE
    assert way(monkeypatch, tmp_path, PEOPLE, address="0.0.0.0") is SignIn.PEOPLE
    assert way(monkeypatch, tmp_path, PEOPLE, password="kettle") is SignIn.PASSWORD
    assert way(monkeypatch, tmp_path, PEOPLE, password="kettle", auth="people") is SignIn.PEOPLE
    assert way(monkeypatch, tmp_path, address="0.0.0.0", auth="none") is SignIn.NONE


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"address": "0.0.0.0"}, "The console would listen on 0.0.0.0, and let anybody in: set console.password, give"),
        ({"auth": "password"}, "console.auth is password, and console.password is empty; set it."),
        ({"auth": "people"}, "console.auth is people, and nobody of"),
        ({"auth": "everybody"}, "Setting 'console.auth' has the value 'everybody': "),
    ],
)
def test_what_would_let_anybody_in_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UserError) as refused:
        way(monkeypatch, tmp_path, **settings)
    assert str(refused.value).startswith(sentence)


def test_a_password_that_is_no_hash_is_refused_without_being_shown(tmp_path: Path) -> None:
    (tmp_path / "people.yaml").write_text("people: [{person: ada, role: viewer, password: otter-kettle}]")
    with pytest.raises(UserError) as refused:
        Gate(SignIn.PEOPLE, tmp_path / "people.yaml")
    assert "as `tillwatch password` makes it" in str(refused.value)
    assert "otter-kettle" not in str(refused.value)


def test_the_small_page_is_for_this_machine_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from console.lite import serve

    monkeypatch.setenv("TILLWATCH_LITE_ADDRESS", "0.0.0.0")
    with pytest.raises(UserError, match=r"The small page would listen on 0\.0\.0\.0, and nobody signs in to it"):
        serve()


# ---- an OpenID Connect provider


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider()
    yield fake
    fake.close()


def test_a_provider_says_where_its_doors_are(provider: FakeProvider) -> None:
    settings = ConsoleSettings(auth="oidc", oidc_issuer=f"{provider.issuer}/", oidc_client_id="tillwatch")
    assert discover(settings) == (
        provider.issuer,
        *(f"{provider.issuer}/{name}" for name in ("authorization", "token", "userinfo")),
    )


def test_what_is_no_provider_is_refused_at_the_start(provider: FakeProvider) -> None:
    def refused(**given: str) -> str:
        settings = {"oidc_issuer": provider.issuer, "oidc_client_id": "tillwatch", **given}
        with pytest.raises(UserError) as caught:
            discover(ConsoleSettings.load(auth="oidc", **settings))
        return str(caught.value)

    assert "console.oidc_issuer is empty" in refused(oidc_issuer="")
    assert "console.oidc_client_id is empty" in refused(oidc_client_id="")
    assert "must begin with https://" in refused(oidc_issuer="http://login.example")
    assert "is it up?" in refused(oidc_issuer="http://127.0.0.1:9")
    assert "is of another issuer" in refused(oidc_issuer=provider.issuer.replace("127.0.0.1", "localhost"))
    provider.issuer = "https://elsewhere.example"
    assert "write that in console.oidc_issuer" in refused(oidc_issuer=provider.address)


def test_a_sign_in_lasts_its_hours_and_says_the_role_of_its_claim(porch: Porch) -> None:
    now = [1_000_000.0]
    gate = Gate(SignIn.OIDC, porch.file, now=lambda: now[0])
    settings = ConsoleSettings(oidc_client_id="tillwatch", oidc_hours=1)
    operator = cookie_from({"email": "a~d@a", "groups": ["x", "tillwatch-operators"]}, settings, "https://i", now[0])
    viewer = cookie_from({"email": "eve", "groups": "x"}, settings, "https://i", now[0])
    assert gate.actor(operator) == Actor("a~d@a", may_act=True)
    assert gate.actor(viewer) == Actor("eve", may_act=False)
    assert gate.actor("eve") is gate.actor("eve~operator~") is gate.actor("~operator~9999999999") is None
    now[0] += 3600
    assert gate.actor(operator) is None
