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
_DEEPEST = 100  # values in values; a checkpoint has about ten, a large module forty
_ADDING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # to the first of all
# Where the keys are among what an opcode adds to a dict or set, or makes a dict of.
_KEYS = {"SETITEM": 2, "SETITEMS": 2, "DICT": 2, "ADDITEMS": 1}


def check_opcodes(pickle: bytes | io.BufferedIOBase, allowed: Set[str] = PLAIN) -> None:
    """Checks a pickle before it is read; of a file, as far as the pickle goes.

    Raises:
      ValueError: it uses another opcode, numbers an object so high that the unpickler would
        make room for far more than there are, nests values so deeply, or has such keys, that they
        could not be handled, or is no pickle.
    """
    stack, memo = [], {}
    for opcode, argument, position in pickletools.genops(pickle):
        if opcode.name not in allowed:
            raise ValueError(f"the pickle uses {opcode.name}")
        if opcode.name.endswith("PUT") and not 0 <= argument <= position:
            raise ValueError("the pickle claims more memory than it has bytes")
        try:
            _follow(opcode, argument, stack, memo)
        except (IndexError, KeyError, TypeError):
            raise ValueError("the pickle takes what is not there") from None


def _follow(
    opcode: pickletools.OpcodeInfo,
    argument: object,
    stack: list[int | None],
    memo: dict[int, int],
) -> None:
    """Does to a stack of nestings what an opcode does to the unpickler's; None is a mark.

    What is added to a value after it was memoised is not counted where the memo is used.
    """
    name, before = opcode.name, opcode.stack_before
    if name == "MARK":
        stack.append(None)
    elif name.endswith("PUT") or name == "MEMOIZE":
        memo[len(memo) if argument is None else argument] = stack[-1]
    elif name.endswith("GET"):
        stack.append(memo[argument])
    elif opcode.stack_after:
        taken = []
        if pickletools.markobject in before:
            before = before[: before.index(pickletools.markobject)]
            while (top := stack.pop()) is not None:
                taken.append(top)
        taken = [*taken, *(stack.pop() for _ in before)][::-1]
        first = taken.pop(0) if name in _ADDING else -1
        # A key is hashed, and the hash of a tuple takes its time for all that is in it.
        if name in _KEYS and any(taken[:: _KEYS[name]]):
            raise ValueError("the pickle has keys that are neither numbers nor texts")
        depth = max(first, 1 + max(taken, default=-1))
        if depth > _DEEPEST:
            raise ValueError("the pickle nests its values too deeply")
        stack.append(depth)
