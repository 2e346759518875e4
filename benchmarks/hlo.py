"""What an optimised program (HLO text) asks of a device."""

import json
import re
from collections import Counter

# An instruction: its result's type, and what it does.
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\(", re.M)
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
CUBLAS = "__cublas"


def product_precisions(text: str) -> Counter:
    """How many matrix products ask for each precision: highest, high or default."""
    found = Counter()
    for line in text.splitlines():
        match = INSTRUCTION.match(line)
        if match is None:
            continue
        if match[2] in ("dot", "convolution"):
            asked = re.search(r"operand_precision=\{(\w+),(\w+)\}", line)
            found[asked[1] if asked and asked[1] == asked[2] else "default"] += 1
        elif match[2] == "custom-call" and CUBLAS in line:
            asked = re.search(r'"operand_precision":(\[[^\]]*\])', line)
            names = set(json.loads(asked[1])) if asked else {"DEFAULT"}
            found[names.pop().lower() if len(names) == 1 else "default"] += 1
    return found


def collectives(text: str) -> Counter:
    """How often each kind of collective stands in a program; each counts once if split in two."""
    kinds = Counter(match[2].removesuffix("-start") for match in INSTRUCTION.finditer(text))
    return Counter({kind: kinds[kind] for kind in COLLECTIVES if kinds[kind]})


def has_double_precision(text: str) -> bool:
    """Whether anything in a program is of 64-bit floating point."""
    return re.search(r"\b(f64|c128)\[", text) is not None


def has_callbacks(text: str) -> bool:
    """Whether a program calls the host."""
    return re.search(r"callback|\b(outfeed|infeed|send|recv)\(", text) is not None
