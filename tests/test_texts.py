"""What others wrote is shown as it is, and nothing in it acts unseen."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.texts import label, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("green tea", "green tea"),
        ("Grüner Tee, 緑茶, شاي", "Grüner Tee, 緑茶, شاي"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("\u2067a\u2069 b\u200f", "\\u2067a\\u2069 b\\u200f"),
        ("pay\u200bments\ufeff\u00ad", "pay\\u200bments\\ufeff\\xad"),
        ("a\x00b\x1b[31mred\x9b", "a\\x00b\\x1b[31mred\\x9b"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("one\u2028two\u2029three\u0085", "one\\u2028two\\u2029three\\x85"),
        ("👩‍💻 می‌خواهم", "👩‍💻 می‌خواهم"),
        ("ad\u200dmin", "ad\\u200dmin"),
        ("a\u3164b\u2800", "a\\u3164b\\u2800"),
        ("\U000e0061", "\\U000e0061"),
    ],
)
def test_what_acts_unseen_is_made_visible_and_all_else_stays(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(max_size=400))
def test_nothing_shown_turns_text_around_or_steers(text: str) -> None:
    unseen = [letter for letter in visible(text) if unicodedata.category(letter) in ("Cc", "Cf", "Cs")]
    assert set(unseen) <= set("\n\t\u200c\u200d")


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    assert visible("x" * 6000, 20) == "x" * 19 + "…"
    assert visible("x" * 20, 20) == "x" * 20


def test_a_label_is_one_line() -> None:
    assert label("  two\n\n lines\u202e ", 40) == "two lines\\u202e"
