"""What an optimised program (HLO text) asks of a device."""

import json
import re
from collections import Counter
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
PRODUCTS = ("dot", "convolution", "ragged-dot", "scaled-dot")
# Instructions that start nothing on the device.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
FREE |= {"partition-id", "replica-id", "opt-barrier", "domain"}
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8}
BYTES |= {"s64": 8, "u64": 8, "c64": 8, "c128": 16}  # anything else has four

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
# A name, the type of its result, and what it does.
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(")
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")


class Instruction(NamedTuple):
    """One instruction: the type of its result, what it does, and its line."""

    type: str
    kind: str
    line: str


class Program(NamedTuple):
    """The computations of a program, by name, and the name of the first."""

    computations: dict[str, list[Instruction]]
    entry: str


def read(text: str) -> Program:
    """Takes a program apart."""
    computations, entry, name = {}, "", ""
    for line in text.splitlines():
        if opened := _COMPUTATION.match(line):
            name = opened[2]
            computations[name] = []
            entry = name if opened[1] else entry
        elif name and (found := _INSTRUCTION.match(line)):
            computations[name].append(Instruction(found[2], found[3], line))
    return Program(computations, entry)


def product_precisions(program: Program) -> Counter:
    """How many matrix products ask for each precision: highest, high or default."""
    found = Counter()
    for instruction in every(program):
        if instruction.kind in PRODUCTS:
            asked = re.search(r"operand_precision=\{([\w,]+)\}", instruction.line)
            names = set(asked[1].split(",")) if asked else {"default"}
        elif instruction.kind == "custom-call" and "__cublas" in instruction.line:
            asked = re.search(r'"operand_precision":(\[[^\]]*\])', instruction.line)
            names = {name.lower() for name in json.loads(asked[1])} if asked else {"default"}
        else:
            continue
        found[names.pop() if len(names) == 1 else "default"] += 1
    return found


def every(program: Program) -> list[Instruction]:
    """All instructions of a program."""
    return [x for instructions in program.computations.values() for x in instructions]


def collectives(program: Program) -> Counter:
    """About how many bytes each kind of collective moves, once through every loop."""
    sent = Counter()
    for instruction in every(program):
        kind = instruction.kind.removesuffix("-start")
        if kind in COLLECTIVES:
            # What is started may return what it was given beside what it gets.
            both = kind != "all-reduce" and kind != instruction.kind
            sent[kind] += size(instruction.type) // (2 if both else 1)
    return sent


def size(type_: str) -> int:
    """Bytes of an array, or of all arrays of a tuple, from its type."""
    total = 0
    for name, shape in _SHAPE.findall(type_):
        count = 1
        for length in filter(None, shape.split(",")):
            count *= int(length)
        total += count * BYTES.get(name, 4)
    return total


def kernels_of_step(program: Program) -> int:
    """How much a device starts in one pass of the longest loop of the first computation.

    Loops inside count as often as they run, of a branch the longer side.
    """
    loops = [x for x in program.computations[program.entry] if x.kind == "while"]
    bodies = [_called(loop.line, "body") for loop in loops]
    return max((_kernels(program, body) for body in bodies), default=0)


def _kernels(program: Program, name: str) -> int:
    total = 0
    for instruction in program.computations[name]:
        kind, line = instruction.kind, instruction.line
        if kind == "while":
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
            times = int(trips[1]) if trips else 1
            total += times * (_kernels(program, _called(line, "body")))
        elif kind == "conditional":
            total += max(_kernels(program, branch) for branch in _branches(line))
        elif kind == "call":
            total += _kernels(program, _called(line, "to_apply"))
        elif kind not in FREE and not kind.endswith("-done"):
            total += 1
    return total


def _called(line: str, role: str) -> str:
    return re.search(rf"\b{role}=%?([\w.\-]+)", line)[1]


def _branches(line: str) -> list[str]:
    if listed := re.search(r"branch_computations=\{([^}]*)\}", line):
        return [name.strip().lstrip("%") for name in listed[1].split(",")]
    return [_called(line, "true_computation"), _called(line, "false_computation")]


def called_kernels(program: Program) -> set[str]:
    """The names of what a program calls that is not written in HLO."""
    found = (re.search(r'custom_call_target="([^"]+)"', x.line) for x in every(program))
    return {match[1] for match in found if match}


def has_half_precision(program: Program) -> bool:
    """Whether anything in a program is of 16-bit floating point."""
    return any(re.search(r"\b(bf16|f16)\[", x.type) for x in every(program))


def has_double_precision(program: Program) -> bool:
    """Whether anything in a program is of 64-bit floating point."""
    return any(re.search(r"\b(f64|c128)\[", x.type) for x in every(program))


def has_callbacks(program: Program) -> bool:
    """Whether a program calls the host."""
    kinds = {"infeed", "outfeed", "send", "recv"}
    named = any("callback" in name for name in called_kernels(program))
    return named or any(x.kind in kinds for x in every(program))
