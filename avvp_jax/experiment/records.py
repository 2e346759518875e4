"""The record of a run in its work directory: config, task, streams, versions and commit."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping

import jax
from etils import epath
from ml_collections import ConfigDict

from avvp_jax.data.prepared import other_files
from avvp_jax.errors import UserError, cause, warn
from avvp_jax.experiment.schema import COMMON, fields_of
from avvp_jax.experiment.settings import by_key, check_config
from avvp_jax.experiment.versions import command, commit, versions
from avvp_jax.runtime import processes
from avvp_jax.storage.left_behind import is_left_behind
from avvp_jax.storage.reading import DamagedFile, is_there, read_bytes
from avvp_jax.storage.stand_ins import dead_link
from avvp_jax.storage.writing import write_lines
from avvp_jax.streams import DataSpec, data_spec
from avvp_jax.task import LLP, Task

_LONGEST_RECORD = 1 << 20


def remember(
    config: ConfigDict, workdir: str, spec: DataSpec, origin: Mapping[str, object]
) -> None:
    """Writes W/config.json: the config, task, streams, data, versions and commit of a run.

    Args:
      spec, origin: of the data, see Dataset.

    Raises:
      UserError: the work directory belongs to a run whose config gives other results.
    """
    path = epath.Path(workdir) / "config.json"
    if path.exists() and has_begun(workdir):
        refuse_other_config(config, workdir)
        return
    record = {
        "config": json.loads(config.to_json()),
        "task": spec.task.to_json(),
        "widths": {stream.name: stream.width for stream in spec.streams},
        **({"any_length": True} if spec.any_length else {}),
        "data": dict(origin),
        "versions": versions(),
        "commit": commit(),
        "command": command(),
        "devices": [str(device) for device in jax.devices()],
    }
    write_lines(path, [json.dumps(record, indent=2)])


def refuse_other_config(config: ConfigDict, workdir: str) -> None:
    """Checks that a run in W can resume with a config: its results must stay the same.

    Raises:
      UserError: they would not; names what differs.
    """
    before, now = by_key(recall(workdir)), by_key(config)
    free = {key for key, field in fields_of(config.method).items() if field.free_on_resume}
    free |= set() if config.seeds_at_once else {"seeds_at_once"}
    changed = [
        f"{key} was {before.get(key)!r} and is now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in free
    ]
    if changed:
        raise UserError(
            f"{workdir} belongs to a run with another config: {'; '.join(changed[:3])}; "
            "choose a new --workdir"
        )


def refuse_other_files(workdir: str, origin: Mapping[str, object]) -> None:
    """Checks that the run in W was trained on the files that the data was prepared from.

    Raises:
      UserError: it was not; says what differs.
    """
    if how := _other_files(workdir, origin):
        raise UserError(
            f"{workdir} was trained on other files than there are now ({how}); put those back, or "
            "choose a new --workdir"
        )


def warn_of_other_files(weights: str, origin: Mapping[str, object]) -> None:
    """Says so if weights in a work directory were trained on other files than the data's.

    Nothing is known of published weights.
    """
    if not is_there(epath.Path(weights) / "config.json"):
        return
    if (how := _other_files(weights, origin)) and processes.first():
        warn(f"{weights} was trained on other files than these ({how})")


def recall_content(workdir: str) -> object:
    """The content of the data that the run in W was trained on; None if it is not recorded."""
    path, record = _read_record(workdir)
    with _refusing_damage(path):
        return record.get("data", {}).get("content")


def recall_software(workdir: str) -> dict[str, str]:
    """The commit and the versions of packages in W/config.json, by name; what is none is left out.

    Raises:
      UserError: see recall.
    """
    path, record = _read_record(workdir)
    with _refusing_damage(path):
        found = {"commit": record.get("commit"), **record.get("versions", {})}
        return {name: text for name, text in found.items() if isinstance(text, str)}


def _other_files(workdir: str, origin: Mapping[str, object]) -> str | None:
    path, record = _read_record(workdir)
    with _refusing_damage(path):
        return other_files(record.get("data", {}), origin)


def has_begun(workdir: str) -> bool:
    """Whether a work directory holds checkpoints that a run could resume from."""
    # Groups of seeds have folders of their own.
    places = itertools.product(("*", "*/seeds_*"), ("latest", "best"))
    return any(
        not is_left_behind(path.name)
        for stage, kept in places
        for path in epath.Path(workdir).glob(f"{stage}/{kept}/*")
    )


def records_a_run(folder: str) -> bool | None:
    """Whether a folder's config.json is of a run, and not of another program; None if damaged."""
    try:
        return "config" in json.loads(read_bytes(epath.Path(folder) / "config.json"))
    except (DamagedFile, OSError, ValueError, TypeError, RecursionError):
        return None


def recall_for(workdir: str, mode: str) -> ConfigDict:
    """The config in W/config.json, as the default config of a mode.

    In modes other than train, `init_from`, `export_to` and the like are empty:
    eval, predict and export use the work directory's own model unless told otherwise.
    """
    config = recall(workdir)
    if mode != "train":
        config.init_from = config.export_to = config.data.features_only = ""
        config.parse.teachers = ""
    return config


def recall(workdir: str) -> ConfigDict:
    """The config in W/config.json.

    Raises:
      UserError: there is none, or it is damaged.
    """
    return _recall(workdir)[0]


def recall_spec(workdir: str) -> DataSpec:
    """The task and streams in W/config.json; an older file without them is of LLP.

    Raises:
      UserError: see recall.
    """
    return _recall(workdir)[1]


def _recall(workdir: str) -> tuple[ConfigDict, DataSpec]:
    path, record = _read_record(workdir)
    with _refusing_damage(path):
        config = ConfigDict(_to_tuples(record["config"]))
        if isinstance(config.get("model"), ConfigDict) and "precision" not in config.model:
            config.model.precision = _precision_before(record)
        _add_later_keys(config)
    try:
        check_config(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    with _refusing_damage(path):
        return config, _spec(record, config)


def _read_record(workdir: str) -> tuple[epath.Path, dict]:
    """The path of W/config.json, and what it holds."""
    path = epath.Path(workdir) / "config.json"
    if not is_there(path):
        if problem := dead_link(workdir):
            raise UserError(f"{workdir}: {problem}; name the work directory itself")
        raise UserError(
            f"{workdir}: not a work directory (it has no config.json); give --config=configs/han.py"
        )
    with _refusing_damage(path):
        content = read_bytes(path, _LONGEST_RECORD)
        record = json.loads(content, object_pairs_hook=_unique_keys)
        if not isinstance(record, dict):
            raise ValueError("it holds no record")
        return path, record


@contextlib.contextmanager
def _refusing_damage(path: epath.Path) -> Iterator[None]:
    way_out = "put a copy back, or give --config=configs/METHOD.py (to train, and a new --workdir)"
    try:
        yield
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {way_out}") from None
    # RecursionError: brackets nested too deeply.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({cause(error)}); {way_out}") from error


def _add_later_keys(config: ConfigDict) -> None:
    """Gives a config the keys that there were not yet when it was written."""
    for key, field in COMMON.items():
        if field.before is not None:
            section, name = key.split(".")
            if section not in config:
                config[section] = ConfigDict()
            if name not in config[section]:
                config[section][name] = field.before


def _precision_before(record: dict) -> str:
    """What products had before precision was a choice: float32 on CPUs, else the device's own."""
    on_cpu = all("cpu" in str(device).lower() for device in record.get("devices", []))
    return "highest" if on_cpu else "fastest"


def _spec(record: dict, config: ConfigDict) -> DataSpec:
    task = Task.from_json(record["task"]) if "task" in record else LLP
    widths = record.get("widths", {})
    if not all(type(width) is int and 0 < width < 2**20 for width in widths.values()):
        raise ValueError("widths of streams are whole numbers")
    return data_spec(config.data.streams, task, widths, record.get("any_length", False) is True)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object as a dict; a key that occurs twice is an error."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key twice among {', '.join(key for key, _ in pairs)}")
    return dict(pairs)


def _to_tuples(value):
    """Converts lists to tuples: JSON has no tuples, and configs have no lists."""
    if isinstance(value, dict):
        return {key: _to_tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
