"""Finds the state_dict in what trainings save: under a key, with words before its names."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from avvp_jax.errors import UserError, first_ten

# The key of the published wrapper, beside which JoMoLD keeps training states.
PUBLISHED_KEY = "model"
# Words that PyTorch puts into names where it wraps a module: DataParallel and
# DistributedDataParallel, torch.compile, FSDP, checkpointing, and Fabric.
_OF_PYTORCH = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_OF_PYTORCH += ("_forward_module",)
_AVERAGED = "n_averaged"  # AveragedModel's counter
_DEEPEST = 3


class Unwrapped(NamedTuple):
    """A state_dict without what was around it.

    Attributes:
      state: name -> value.
      key: the keys that lead to it, joined by dots; empty if the file is the state_dict.
      words: those taken from its names, each with its dot.
    """

    state: dict[str, object]
    key: str
    words: tuple[str, ...]

    def remark(self, key_as_published: bool) -> str:
        """What the state_dict was read without, to follow "read without"; may be empty."""
        under = self.key and not (key_as_published and self.key == PUBLISHED_KEY)
        parts = [f"its wrapper {self.key!r}"] if under else []
        parts += [f"{word!r} in its names" for word in self.words]
        return ", ".join(parts)


def unwrap(content: object, tensor: type, path: str) -> Unwrapped | None:
    """The one state_dict in the content of a file; None if there is none.

    Args:
      tensor: the class of a state_dict's values.
      path: of the file, for messages.

    Raises:
      UserError: there are several, or names are the same without those words.
    """
    if _is_state(content, tensor):
        found = {"": content}
    else:
        found = dict(_states_in(content, tensor)) or _among_others(content, tensor)
    if len(found) > 1:
        raise UserError(
            f"{path}: holds several models: {first_ten([repr(key) for key in found])}; save the "
            "state_dict of one of them alone"
        )
    for key, state in found.items():
        plain, words = _plain_names([name for name in state if name != _AVERAGED])
        if twice := [name for name, count in Counter(plain.values()).items() if count > 1]:
            both = [name for name in plain if plain[name] in twice]
            raise UserError(
                f"{path}: holds tensors twice: {first_ten(both)}; save the state_dict of one model"
            )
        return Unwrapped({plain[name]: state[name] for name in plain}, key, words)
    return None


def _is_state(value: object, tensor: type) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(each, tensor) for name, each in value.items()
    )


def _states_in(
    content: object, tensor: type, within: tuple[str, ...] = ()
) -> Iterator[tuple[str, Mapping]]:
    """The state_dicts of models below a mapping, with their keys; optimizers have none."""
    if isinstance(content, (list, tuple)):
        content = {str(place): value for place, value in enumerate(content)}
    if not isinstance(content, Mapping) or len(within) == _DEEPEST:
        return
    for key, value in content.items():
        if not isinstance(key, str) or "optim" in key.lower():
            continue
        # Metrics and random states are tensors with names too, but no weights.
        if _is_state(value, tensor) and any(name.endswith("weight") for name in value):
            yield ".".join((*within, key)), value
        else:
            yield from _states_in(value, tensor, (*within, key))


def _among_others(content: object, tensor: type) -> dict[str, dict]:
    """The tensors of a mapping that holds other values too, as {"epoch": 3, **state_dict}."""
    if not isinstance(content, Mapping):
        return {}
    tensors = {name: x for name, x in content.items() if isinstance(x, tensor)}
    named = all(isinstance(name, str) for name in tensors)
    return {"": tensors} if named and any(name.endswith(".weight") for name in tensors) else {}


def _plain_names(names: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The names without the words of wrappers, and these words."""
    plain, taken = {}, []
    for name in names:
        words = name.split(".")
        kept = [word for word in words[:-1] if word not in _OF_PYTORCH]
        taken += [word for word in words[:-1] if word in _OF_PYTORCH]
        plain[name] = (*kept, words[-1])
    # Words before all names, such as model of Lightning. A module's own name leads few.
    before = os.path.commonprefix(list(plain.values()))[: min(map(len, plain.values())) - 2]
    if before and len({words[len(before)] for words in plain.values()}) > 1:
        taken += before
        plain = {name: words[len(before) :] for name, words in plain.items()}
    taken = tuple(f"{word}." for word in dict.fromkeys(taken))
    return {name: ".".join(words) for name, words in plain.items()}, taken
