"""Fields of a config: what a value may be, and what depends on it.

`experiment.schema` has the fields that all methods share, and each method those of its
own sections.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral


@dataclass(frozen=True)
class Limit:
    """What a value may be, in words that follow "must be", and whether one is that."""

    wish: str
    holds: Callable[[object], bool]


@dataclass(frozen=True)
class Field:
    """A key of a config.

    Attributes:
      limit: what its value may be.
      required: whether every config has it; the others, where a choice needs them.
      needs: choice -> the keys of the same section that it needs.
      path: it names a file or a folder; empty names none.
      each_network: networks that train together may have a value each, by their names.
      divides_width: it must divide `model.width`.
      weightless: no weights depend on it, so that any network of the method can have it.
      free_on_resume: a run may go on with another value, since its numbers stay the same.
      free_in_pairs: runs that differ in it count as runs of one config.
    """

    limit: Limit
    required: bool = True
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path: bool = False
    each_network: bool = False
    divides_width: bool = False
    weightless: bool = False
    free_on_resume: bool = False
    free_in_pairs: bool = False


# Keys of a section, or of sections in it.
Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Overrides:
    """A section whose values replace those of the whole config in one stage (`base.train.epochs`).

    Attributes:
      required: dotted keys that it has to have; it may have any other of the config's.
    """

    required: tuple[str, ...]


def _is_number(value) -> bool:
    # Of an integer beyond floats, math.isfinite does not tell.
    integer = isinstance(value, int) and not isinstance(value, bool)
    return integer or (isinstance(value, float) and math.isfinite(value))


def is_text(value) -> bool:
    """Whether a value is what TEXT wants."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_names(value) -> bool:
    return isinstance(value, (tuple, list)) and all(map(is_text, value))


def whole(low: int, high: int) -> Limit:
    """A whole number of a range."""
    return Limit(
        f"a whole number from {low} to {high}",
        lambda x: isinstance(x, Integral) and not isinstance(x, bool) and low <= x <= high,
    )


def number(low: float, high: float) -> Limit:
    """Any number of a range."""
    return Limit(f"a number from {low:g} to {high:g}", lambda x: _is_number(x) and low <= x <= high)


def choice(*names: str) -> Limit:
    """One of a few names."""
    return Limit(f"one of {', '.join(names)}", lambda x: isinstance(x, str) and x in names)


COUNT = whole(1, 2**31 - 1)
SEED = whole(0, 2**32 - 1)
# Beyond what anybody trains. A network is built before its memory is known, layer by layer.
WIDTH, DEPTH, SEEDS = whole(1, 2**17), whole(1, 100), whole(1, 2**16)
POSITIVE = Limit("a number greater than 0, at most 1e+09", lambda x: _is_number(x) and 0 < x <= 1e9)
NOT_NEGATIVE = number(0, 1e9)
SHARE = Limit("a number of at least 0 and less than 1", lambda x: _is_number(x) and 0 <= x < 1)
SWITCH = Limit("True or False", lambda x: isinstance(x, bool))
TEXT = Limit("UTF-8 text without a NUL", is_text)
NAMES = Limit("a tuple of names, for example ('val', 'test')", _are_names)
SELECT = Limit("a name or a tuple of names", lambda x: is_text(x) or _are_names(x))
