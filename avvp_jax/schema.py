"""Fields of a config: the values allowed, and what depends on them.

`experiment.schema` defines the fields that all methods share; each method defines those of its
own sections.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral


@dataclass(frozen=True)
class Limit:
    """A condition on a value.

    Attributes:
      wish: the condition in words that follow "must be".
      holds: whether a value meets it.
    """

    wish: str
    holds: Callable[[object], bool]


@dataclass(frozen=True)
class Field:
    """A key of a config.

    Attributes:
      limit: the condition that its value must meet.
      required: whether every config must have it. A field that is not required must be there
        only if a choice needs it.
      needs: choice -> the keys of the same section that this choice needs.
      path: whether it names a file or a folder; the empty string names none.
      each_network: whether networks that train together may have a value each, by name.
      divides_width: whether it must divide a width of the model.
      width: which one, a key of `model`.
      weightless: whether no weight depends on it, so that trained weights fit any value.
      free_on_resume: whether a run may resume with another value, because results do not
        depend on it.
      free_in_pairs: whether runs that differ in it still count as runs of one config.
      before: the value that runs had before there was the key; None if there always was.
    """

    limit: Limit
    required: bool = True
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path: bool = False
    each_network: bool = False
    divides_width: bool = False
    width: str = "width"
    weightless: bool = False
    free_on_resume: bool = False
    free_in_pairs: bool = False
    before: object = None


# Keys of a section, or of sections in it.
Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Overrides:
    """A section whose values replace those of the whole config in one stage (`base.train.epochs`).

    Attributes:
      required: dotted keys that it must have; it may have any other key of the config.
    """

    required: tuple[str, ...]


def _is_number(value) -> bool:
    # math.isfinite raises OverflowError for an integer too large for a float.
    integer = isinstance(value, int) and not isinstance(value, bool)
    return integer or (isinstance(value, float) and math.isfinite(value))


def is_text(value) -> bool:
    """Whether a value is a string that UTF-8 can encode, without a NUL (see TEXT)."""
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
    """A whole number from `low` to `high`, both included."""
    return Limit(
        f"a whole number from {low} to {high}",
        lambda x: isinstance(x, Integral) and not isinstance(x, bool) and low <= x <= high,
    )


def number(low: float, high: float) -> Limit:
    """A number from `low` to `high`, both included."""
    return Limit(f"a number from {low:g} to {high:g}", lambda x: _is_number(x) and low <= x <= high)


def choice(*names: str) -> Limit:
    """One of a few names."""
    return Limit(f"one of {', '.join(names)}", lambda x: isinstance(x, str) and x in names)


COUNT = whole(1, 2**31 - 1)
SEED = whole(0, 2**32 - 1)
# Far larger than any real network. There must be a limit: a network is built layer by layer,
# before the memory it needs is known.
WIDTH, DEPTH, SEEDS = whole(1, 2**17), whole(1, 100), whole(1, 2**16)
POSITIVE = Limit("a number greater than 0, at most 1e+09", lambda x: _is_number(x) and 0 < x <= 1e9)
NOT_NEGATIVE = number(0, 1e9)
SHARE = Limit("a number of at least 0 and less than 1", lambda x: _is_number(x) and 0 <= x < 1)
# Of a threshold that 0 must not reach: that is the probability in segments that are not there.
POSITIVE_SHARE = Limit("a number greater than 0, at most 1", lambda x: _is_number(x) and 0 < x <= 1)
SWITCH = Limit("True or False", lambda x: isinstance(x, bool))
TEXT = Limit("UTF-8 text without a NUL", is_text)
NAMES = Limit("a tuple of names, for example ('val', 'test')", _are_names)
SELECT = Limit("a name or a tuple of names", lambda x: is_text(x) or _are_names(x))
