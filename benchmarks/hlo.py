"""What an optimised program (HLO text) asks of a device."""

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
PRODUCTS = ("dot", "convolution", "ragged-dot", "scaled-dot")
# Instructions that start nothing on the device.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
FREE |= {"partition-id", "replica-id", "opt-barrier", "domain"}
# What reads or writes some rows of its first operand.
ROWS = ("gather", "dynamic-slice", "dynamic-update-slice")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8}
BYTES |= {"s64": 8, "u64": 8, "c64": 8, "c128": 16, "token": 0}  # anything else here has four

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
# A name, the type of its result, and what it does.
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(")
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")


class Instruction(NamedTuple):
    """One instruction: its name, the type of its result, what it does, and its line."""

    name: str
    type: str
    kind: str
    line: str

    @property
    def operands(self) -> list[str]:
        """The names of what it is given."""
        given = self.line[self.line.index(f" {self.kind}(") :].partition(")")[0]
        return re.findall(r"%([\w.\-]+)", given)


class Program(NamedTuple):
    """The computations of a program by name, the name of the first, and all results' types."""

    computations: dict[str, list[Instruction]]
    entry: str
    types: dict[str, str]


def read(text: str) -> Program:
    """Takes a program apart."""
    computations, entry, name, types = {}, "", "", {}
    for line in text.splitlines():
        if opened := _COMPUTATION.match(line):
            name = opened[2]
            computations[name] = []
            entry = name if opened[1] else entry
        elif name and (found := _INSTRUCTION.match(line)):
            computations[name].append(Instruction(*found.groups(), line))
            types[found[1]] = found[2]
    return Program(computations, entry, types)


def product_precisions(program: Program) -> Counter:
    """How many matrix products and convolutions ask for each precision: highest, high or default.

    Those of 16-bit numbers are called bfloat16: what they ask for makes no difference.
    """
    return Counter(
        "bfloat16" if _of_half(program, instruction) else _precision(instruction)
        for instruction in every(program)
        if _multiplies(instruction)
    )


def _multiplies(instruction: Instruction) -> bool:
    """Whether an instruction is a product or a convolution: of XLA, of cuBLAS or of cuDNN."""
    called = instruction.kind == "custom-call" and re.search("__cublas|__cudnn", instruction.line)
    return bool(called) or instruction.kind in PRODUCTS


def _of_half(program: Program, product: Instruction) -> bool:
    types = [program.types.get(operand, "") for operand in product.operands[:2]]
    return all(type_.startswith(("bf16[", "f16[")) for type_ in types)


def _precision(product: Instruction) -> str:
    """What a product's two operands ask for; of two answers the lower counts as default.

    A third operand of cuDNN is a bias, which is added.
    """
    listed = re.search(r'operand_precision"?[=:][{\[]([\w,"]+)', product.line)
    names = listed[1].replace('"', "").lower().split(",")[:2] if listed else ["default"]
    return names[0] if len(set(names)) == 1 else "default"


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


def size(type_: str, on_chip: bool = True) -> int:
    """Bytes of an array, or of all arrays of a tuple, from its type.

    Args:
      on_chip: whether arrays in a TPU's own memory (S(1) and so on) count.
    """
    total = 0
    for name, shape, layout in _SHAPE.findall(type_):
        if on_chip or "S(" not in layout:
            lengths = (int(length) for length in shape.split(",") if length)
            total += math.prod(lengths) * BYTES.get(name, 4)
    return total


def kernels_of_step(program: Program) -> int:
    """How much a device starts in one pass of the longest loop of the first computation.

    Loops inside count as often as they run, of a branch the longer side. A program without a loop
    is one step.
    """
    return _of_step(program, lambda _: 1)


def bytes_of_step(program: Program) -> int:
    """About how many bytes a step reads from a device's memory and writes to it.

    They are those of every kernel's operands and results, without what stays in a TPU's own
    memory. Of an array that a kernel takes rows from, or writes rows to, these rows. What stays in
    a cache between kernels counts all the same.
    """
    return _of_step(program, lambda instruction: _traffic(program, instruction))


def _of_step(program: Program, cost: Callable[[Instruction], int]) -> int:
    loops = [x for x in program.computations[program.entry] if x.kind == "while"]
    bodies = [_called(loop.line, "body") for loop in loops] or [program.entry]
    return max(_sum(program, body, cost) for body in bodies)


def _sum(program: Program, name: str, cost: Callable[[Instruction], int]) -> int:
    total = 0
    for instruction in program.computations[name]:
        kind, line = instruction.kind, instruction.line
        if kind == "while":
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
            times = int(trips[1]) if trips else 1
            total += times * _sum(program, _called(line, "body"), cost)
        elif kind == "conditional":
            total += max(_sum(program, branch, cost) for branch in _branches(line))
        elif kind == "call":
            total += _sum(program, _called(line, "to_apply"), cost)
        elif kind not in FREE and not kind.endswith("-done"):
            total += cost(instruction)
    return total


def _traffic(program: Program, instruction: Instruction) -> int:
    result, operands = instruction.type, instruction.operands
    if instruction.kind == "custom-call":
        result = re.sub(r"\b[su]8\[\d+\]\S*", "", result)  # room to work in
    if instruction.kind == "copy-start":
        return size(result, on_chip=False)  # holds what it copies from, too
    if instruction.kind != "fusion":
        taken, written = _rows(program, instruction)
        return taken + (size(result, on_chip=False) if written is None else written)
    inside = program.computations[_called(instruction.line, "calls")]
    given = {int(_number(x)): x.name for x in inside if x.kind == "parameter"}
    total = sum(
        _read(program, inside, given[index], size(program.types[operand], on_chip=False))
        for index, operand in enumerate(operands)
    )
    by_name, last = {x.name: x for x in inside}, inside[-1]
    if last.kind != "tuple":
        return total + _written(program, by_name, last, result)
    roots = [by_name[name] for name in last.operands]
    types = [found[0] for found in _SHAPE.finditer(result)]
    return total + sum(_written(program, by_name, *each) for each in zip(roots, types, strict=True))


def _written(program: Program, by_name: dict[str, Instruction], root: Instruction, type_: str):
    """Bytes that a fusion writes for one of its results, of this type."""
    while root.kind == "bitcast":
        root = by_name[root.operands[0]]
    written = _rows(program, root)[1]
    return size(type_, on_chip=False) if written is None else written


def _read(program: Program, inside: list[Instruction], name: str, whole: int) -> int:
    """Bytes that a fusion reads of an operand of `whole` bytes: all, or only rows."""
    total = 0
    for user in inside:
        if name in user.operands:
            if user.kind in ("bitcast", "reshape"):
                total += _read(program, inside, user.name, whole)
            elif user.kind in ROWS and user.operands[0] == name:
                total += 0 if user.kind == "dynamic-update-slice" else size(user.type)
            else:
                return whole
    return min(total, whole)


def _rows(program: Program, instruction: Instruction) -> tuple[int, int | None]:
    """Bytes read of an instruction's operands, and those it writes if that is not its result."""
    kind, operands = instruction.kind, instruction.operands
    sizes = [size(program.types[operand], on_chip=False) for operand in operands]
    if kind == "dynamic-update-slice":
        return sizes[1], min(size(program.types[operands[1]]), sizes[0])
    if kind in ROWS:  # from memory, also where they stay on the chip
        return min(size(instruction.type), sizes[0]), None
    return sum(sizes), None


def _number(parameter: Instruction) -> str:
    return re.search(r"parameter\((\d+)\)", parameter.line)[1]


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
