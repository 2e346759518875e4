"""The named tensors in what a PyTorch file holds: a state_dict, a checkpoint, or a module."""

from collections.abc import Mapping

from avvp_jax.encoders.torch_pickles import Module, Tensor
from avvp_jax.errors import first_ten
from avvp_jax.storage.reading import DamagedFile

_STATE = "state_dict"  # its name in a checkpoint, beside epoch, optimizer and so on
# More than a network has: modules in modules, letters in a name, and modules or tensors in all.
_DEEPEST, _LONGEST, _MOST = 50, 1000, 100_000


def state_of(content: object) -> dict[str, Tensor]:
    """The tensors in a pickle's content, by name.

    Those of a TorchScript module have the names that its state_dict would give them. Its other
    attributes are left out; tensors that are no parameters cannot be told apart and are not.

    Raises:
      DamagedFile: it holds anything else.
    """
    if isinstance(content, Module):
        return _of_module(content)
    if isinstance(content, Mapping) and isinstance(content.get(_STATE), Mapping):
        content = content[_STATE]
    if not isinstance(content, Mapping) or not all(type(name) is str for name in content):
        raise DamagedFile("holds no state_dict (names and tensors)")
    odd = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if odd or not content:
        raise DamagedFile(f"holds no state_dict; no tensors: {first_ten(odd)}")
    return dict(content)


def _of_module(module: Module) -> dict[str, Tensor]:
    """The tensors in a module and those in it, by the path of attributes to each."""
    state, visited = {}, 0
    left = [("", module, (module,))]
    while left:
        prefix, module, within = left.pop()
        for name, value in module.attributes.items():
            if type(name) is not str or not isinstance(value, Module | Tensor):
                continue
            path, visited = f"{prefix}{name}", visited + 1
            # A module may stand in several places, and these multiply where it holds others.
            if len(within) > _DEEPEST or len(path) > _LONGEST or visited > _MOST:
                raise DamagedFile("has far more modules in modules than a network has")
            if isinstance(value, Module):
                if any(value is each for each in within):
                    raise DamagedFile(f"has a module that contains itself: {path}")
                left.append((f"{path}.", value, (*within, value)))
            elif path in state:
                raise DamagedFile(f"has {path} twice")
            else:
                state[path] = value
    if not state:
        raise DamagedFile("is a module without tensors")
    return state
