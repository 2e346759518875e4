"""Classes by their names: classes.csv, what teachers need to know of each."""

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from avvp_jax.encoders.teachers import TEACHERS, Teacher, alternatives
from avvp_jax.errors import UserError, first_ten, one_line
from avvp_jax.storage.reading import DamagedFile, read_bytes
from avvp_jax.task import MODALITIES

AUTO = "auto"  # a threshold that is found; math.nan in a Teacher
PRIOR = 0.05  # the share of segments above one that is found, if nobody says otherwise
COLUMNS = ("name", "visual_prompt", "audio_prompt", "visual_threshold", "audio_threshold")
# Those of VALOR's prompts.
PATTERNS = {"visual": "A photo of {}.", "audio": "This is a sound of {}"}
_LARGEST = 1 << 20  # bytes
_WAY_OUT = f"give a header of {', '.join(COLUMNS)} (name alone is needed), and a row for each class"


def read_classes(path: str) -> tuple[tuple[str, ...], dict[str, Teacher]]:
    """The names of classes in a csv file, and by modality the teachers for them.

    Columns are apart by commas, semicolons or tabs. An empty prompt is that of PATTERNS, an empty
    threshold is AUTO. Several prompts of a class are apart by "|".

    Raises:
      UserError: the file is missing, or holds something else.
    """
    rows = _rows(path)
    names = tuple(row["name"] for row in rows)
    if odd := [repr(x) for x in names if not x or any(not c.isprintable() for c in x)]:
        raise UserError(f"{path}: no names of classes: {first_ten(odd)}; {_WAY_OUT}")
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise UserError(f"{path}: names classes twice: {first_ten(twice)}; leave one of each")
    made = {}
    for modality in MODALITIES:
        prompts = tuple(_prompt(path, row, modality) for row in rows)
        thresholds = tuple(_threshold(path, row, modality) for row in rows)
        made[modality] = Teacher(TEACHERS[modality].name, modality, prompts, thresholds)
    return names, made


def classes_text(names: Sequence[str], teachers: Mapping[str, Teacher]) -> str:
    """The content of a classes.csv of these classes and teachers."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    visual, audio = teachers["visual"], teachers["audio"]
    columns = (visual.prompts, audio.prompts, visual.thresholds, audio.thresholds)
    for row in zip(names, *columns, strict=True):
        writer.writerow([_number(x) if type(x) is float else x for x in row])
    return text.getvalue()


def _number(threshold: float) -> str:
    """A threshold with all its digits: a logit may be equal to it."""
    return AUTO if math.isnan(threshold) else repr(threshold).removesuffix(".0")


def unknown_thresholds(names: Sequence[str], teachers: Mapping[str, Teacher]) -> list[str]:
    """Which classes have a threshold that is AUTO."""
    nan = [[math.isnan(x) for x in teacher.thresholds] for teacher in teachers.values()]
    return [name for name, *each in zip(names, *nan, strict=True) if any(each)]


def _rows(path: str) -> list[dict[str, str]]:
    try:
        content = read_bytes(path, _LARGEST)
        # What spreadsheets call Unicode text.
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; it needs a list of classes") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    text = re.sub(r'\A"?sep=.?"?[\r\n]+', "", text)  # some spreadsheets say what separates columns
    head = next((line for line in text.splitlines() if line.strip()), "")
    separator = next((sign for sign in "\t;" if sign in head), ",")
    try:
        cells = csv.reader(io.StringIO(text), strict=True, delimiter=separator)
        rows = [[cell.strip() for cell in row] for row in cells if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f"{path}: is no csv file ({error}); {_WAY_OUT}") from None
    header = rows[0] if rows else []
    if "name" not in header or set(header) - set(COLUMNS) or len(set(header)) < len(header):
        found = one_line(", ".join(header))[:100] or "nothing"
        raise UserError(f"{path}: has the columns {found}; {_WAY_OUT}")
    if len(rows) < 2:
        raise UserError(f"{path}: names no class; {_WAY_OUT}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(header):
            raise UserError(
                f"{path}: row {number} has {len(row)} cells and the header {len(header)}; put text "
                "with a comma into double quotes"
            )
    empty = dict.fromkeys(COLUMNS, "")
    return [empty | dict(zip(header, row, strict=False)) for row in rows[1:]]


def _prompt(path: str, row: Mapping[str, str], modality: str) -> str:
    spoken = re.sub(r"[\s_|]+", " ", row["name"]).strip().lower()
    prompt = row[f"{modality}_prompt"]
    if not prompt and not spoken:
        raise UserError(f"{path}: {row['name']} has no word in it; give it a {modality} prompt")
    prompt = prompt or PATTERNS[modality].format(spoken)
    if not all(alternatives(prompt)):
        raise UserError(
            f"{path}: {row['name']} has the {modality} prompt {prompt[:60]!r}, of which a part is "
            'empty; prompts are apart by "|"'
        )
    return prompt


def _threshold(path: str, row: Mapping[str, str], modality: str) -> float:
    text = row[f"{modality}_threshold"]
    if not text or text.lower() == AUTO:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            f"{path}: {row['name']} has the {modality} threshold {text[:60]!r}; give a number or "
            f"{AUTO}"
        )
    return value
