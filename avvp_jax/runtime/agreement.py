"""What the processes of one run must have in common: the command, the code and the data.

A compiled program assumes that an array from the host is the same in every process. If it is
not, results are silently wrong, or processes wait for one another for ever.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from avvp_jax.errors import UserError
from avvp_jax.runtime import processes


def refuse_differences(facts: Mapping[str, object]) -> None:
    """Checks that every fact is the same in every process.

    Raises:
      UserError: a fact differs. Raised in every process; it names the first such fact.
    """
    if not processes.several():
        return
    names = sorted(facts)
    _compare(["the config's set of keys"], [names])
    _compare(names, [facts[name] for name in names])


def _compare(names: Sequence[str], values: Sequence[object]) -> None:
    digests = np.array([zlib.crc32(repr(value).encode()) for value in values], np.uint32)
    everybody = processes.gathered(digests)
    different, which = np.nonzero(everybody != everybody[0])
    if len(different):
        raise UserError(
            f"{names[which[0]]} differs between process 0 and process {different[0]}; start every "
            "process with the same command, code and data"
        )
