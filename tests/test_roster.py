"""config/people.yaml: who may act, and every wrong entry refused by file, line and what would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse import ROOT
from lakehouse.roster import Role, load_roster
from lakehouse.user_error import UserError
from notifier.routing.load import load_routing

ADA = "people:\n  - person: ada\n    role: operator\n    email: ada@shop.example\n    slack: T0SHOP/U0ADA\n"


def written(path: Path, text: str) -> Path:
    file = path / "people.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_people_are_known_by_name_and_by_slacks_ids(tmp_path: Path) -> None:
    roster = load_roster(written(tmp_path, ADA + "  - {person: eve, role: viewer}\n"))
    ada = roster.named("ada")
    assert ada is not None
    assert (ada.role, ada.email) == (Role.OPERATOR, "ada@shop.example")
    assert roster.in_slack("T0SHOP", "U0ADA") == ada
    assert roster.in_slack("T0OTHER", "U0ADA") is None
    assert roster.named("bob") is None


def test_the_file_that_is_shipped_names_nobody_and_none_is_no_fault(tmp_path: Path) -> None:
    assert load_roster(ROOT / "config" / "people.yaml").people == ()
    assert load_roster(tmp_path / "none.yaml").people == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("people: {}", "line 1: 'people' is no list; write it as [one, two]"),
        ("persons: []", "it holds no list `people:`"),
        ("people:\n  - role: operator", "line 2: the key 'person' is missing; add it"),
        ("people:\n  - {person: ada}", "line 2: the key 'role' is missing; add it"),
        (ADA + "    roll: viewer", "line 6: the key 'roll' is unknown (did you mean 'role'?)"),
        ("people:\n  - {person: ada, role: boss}", "'role'"),
        (
            "people:\n  - {person: 'a b', role: viewer}",
            "'person' has the value 'a b': expected a short name of letters",
        ),
        (
            "people:\n  - {person: ada, role: viewer, email: ada}",
            "'email' has the value 'ada': expected an address like ada@shop.example",
        ),
        (
            "people:\n  - {person: ada, role: viewer, slack: '@ada'}",
            "'slack' has the value '@ada': expected TEAM/USER, like T0SHOP/U0ADA",
        ),
        (ADA + "  - {person: ada, role: viewer}", "line 6: 'ada' stands twice under `people:`"),
        (ADA + "  - {person: bob, role: viewer, slack: T0SHOP/U0ADA}", "'T0SHOP/U0ADA' stands twice under `people:`"),
        ("people: [", "cannot be read: it is not YAML"),
    ],
)
def test_a_wrong_entry_is_refused_by_line_and_what_would_do(tmp_path: Path, text: str, sentence: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UserError) as refused:
        load_roster(file)
    assert sentence in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("@adda", "'@adda' is nobody in people.yaml (did you mean 'ada'?); people are ada, eve"),
        ("@eve", "'@eve' has no email in people.yaml; add it, or name a channel"),
    ],
)
def test_a_route_to_somebody_unknown_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    roster = load_roster(written(tmp_path, ADA + "  - {person: eve, role: viewer}\n"))
    routes = tmp_path / "routes.yaml"
    routes.write_text(f"routes:\n  - name: all\n    escalate:\n      - {{after: 5 min, to: ['{name}']}}\n", "utf-8")
    with pytest.raises(UserError) as refused:
        load_routing(routes, {"email": ()}, roster)
    assert f"line 4, 'all': {sentence}" in str(refused.value)
