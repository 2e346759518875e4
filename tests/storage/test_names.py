"""What can be the name of a video, and so of files."""

import pytest

from avvp_jax.storage.names import LONGEST_NAME, no_name, normal

NAMES = [
    "-r1ghtDash_",
    "a.b.c",
    "caf\u00e9 2",
    "\u72ac",
    "12:30",
    "$(touch x)",
    "it's [1] #&*?",
    "CON1",
]
NAMES += ["console", "com", "~", "x" * LONGEST_NAME, "\u00e9" * (LONGEST_NAME // 2), "a\u0308b"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_names(name):
    assert no_name(name) is None


OTHERS = {
    "": "is empty",
    **dict.fromkeys(["a/b", "/a", "a\\b", "c:b", "../a"], "names a folder"),
    **dict.fromkeys([".", "..", ".a"], "is that of a hidden file"),
    **dict.fromkeys(["a\0", "a\n", "\x1b[2J", "a\u202eb", "a\u2028", "a\udc80", "a\ufffd"],
                    "has signs that cannot be printed"),
    **dict.fromkeys([" a", "a "], "begins or ends with a space"),
    **dict.fromkeys(["con", "NUL.txt", "Com9.a.b", "LPT1", "aux."], "is that of a device"),
    "x" * (LONGEST_NAME + 1): f"has more than {LONGEST_NAME} bytes",
    "\u72ac" * 67: f"has more than {LONGEST_NAME} bytes",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS, ids=ascii)
def test_others_are_not(name):
    assert no_name(name) == OTHERS[name]


def test_names_match_however_an_accent_is_stored():
    assert normal("cafe\u0301") == "caf\u00e9" and normal("x") == "x"
