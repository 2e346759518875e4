"""What results.py keeps of finished runs, in a file that goes with the page."""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import pathlib

from ml_collections import ConfigDict
from refinement import counts

from avvp_jax.errors import UserError
from avvp_jax.experiment.schema import fields_of
from avvp_jax.experiment.settings import by_key
from avvp_jax.modes.compare import read_result
from avvp_jax.storage.writing import write_lines

# In a work directory: where and when each start was.
STARTS = "starts.jsonl"
DENOISERS = ("jomold", "cmpae")
NOISE_FINDERS = ("ma", *DENOISERS)


@dataclasses.dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
      name: of the config, METHOD or METHOD:VARIANT.
      data: the data set's seed.
      config: a digest of what results depend on.
      jax, commit: the software.
      starts: `device` and `date` of each start of the run.
      scores: of each seed that did not diverge, the test scores.
      noise: of each seed, what refinement.py counts; None of methods that find none.
    """

    name: str
    data: int
    config: str
    jax: str
    commit: str | None
    starts: list[dict]
    scores: list[dict]
    noise: list[dict] | None


class Records:
    """Records by (name, data), in a JSON file of a line each; saved as soon as one is added."""

    def __init__(self, path: pathlib.Path):
        self._path, self._by_run = path, {}
        try:
            for row in json.loads(path.read_text()) if path.exists() else ():
                record = Record(**row)
                self._by_run[record.name, record.data] = record
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: no records of results.py ({error}); delete it") from None

    def of(self, name: str, data: int, config: ConfigDict) -> Record | None:
        """The record of a run, if there is one.

        Raises:
          UserError: it is of another config.
        """
        record = self._by_run.get((name, data))
        if record and record.config != digest(config):
            raise UserError(
                f"{self._path}: {name} on data set {data} is there with another config; give "
                "another --page, or delete that line to train it again"
            )
        return record

    def add(self, record: Record) -> None:
        self._by_run[record.name, record.data] = record
        rows = [dataclasses.asdict(self._by_run[run]) for run in sorted(self._by_run)]
        lines = ",\n".join(json.dumps(row) for row in rows)
        write_lines(self._path, [f"[\n{lines}\n]"])


def digest(config: ConfigDict) -> str:
    """A digest of the values that results depend on; of files, whether they are given."""
    fields, kept = fields_of(config.method), {}
    for key, value in by_key(config).items():
        field = fields.get(key)
        if field is None or not field.free_on_resume:
            kept[key] = bool(value) if field is not None and field.path else value
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def record_of(name: str, data: int, config: ConfigDict, workdir: pathlib.Path) -> Record:
    """The record of the finished run in a work directory."""
    made, starts = json.loads((workdir / "config.json").read_text()), workdir / STARTS
    lines = starts.read_text().splitlines() if starts.exists() else []
    ours = name.partition(":")[0] in NOISE_FINDERS
    return Record(
        name=name,
        data=data,
        config=digest(config),
        jax=made["versions"]["jax"],
        commit=made["commit"],
        starts=[json.loads(line) for line in lines],
        scores=read_result(str(workdir), "test").seeds,
        noise=counted_apart(str(workdir)) if ours else None,
    )


def counted_apart(workdir: str) -> list[dict]:
    """The counts of refinement.py, in a process that leaves the devices to the next run."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(counts, workdir).result()
