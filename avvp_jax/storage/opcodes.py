"""The opcodes of pickles that build tensors and containers, and nothing else."""

import io
import pickletools
from collections.abc import Set

# Those of lists, tuples, dicts, integers and tensors. Of those that call, build or change objects
# only REDUCE is among them: it calls a function, which find_class of an unpickler restricts.
PLAIN = frozenset(
    "PROTO FRAME STOP MARK EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_DICT NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 SHORT_BINSTRING BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 GET "
    "BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE".split()
)


def check_opcodes(pickle: bytes | io.BufferedIOBase, allowed: Set[str] = PLAIN) -> None:
    """Checks a pickle before it is read; of a file, as far as the pickle goes.

    Raises:
      ValueError: it uses another opcode, numbers an object so high that the unpickler would
        make room for far more than there are, or is no pickle.
    """
    for opcode, argument, position in pickletools.genops(pickle):
        if opcode.name not in allowed:
            raise ValueError(f"the pickle uses {opcode.name}")
        if opcode.name.endswith("PUT") and not 0 <= argument <= position:
            raise ValueError("the pickle claims more memory than it has bytes")
