"""Where data is prepared: in data_dir, and what comes from other files in data_dir/from-KEY.

A data_dir is shared by runs, so that what was prepared there stays as it is.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from etils import epath

from avvp_jax.errors import UserError, first_ten, warn
from tfds_llp.configs import LlpConfig
from tfds_llp.integrity import refuse_damaged, refusing_damage
from tfds_llp.llp import Llp
from tfds_llp.sources import differences, folder_in, key_of, only_deleted, source_in

_PLACE = re.compile("from-[0-9a-f]{7}")


@dataclass(frozen=True)
class Chosen:
    """The builder of a data set that is prepared, or of one that is to be.

    Attributes:
        builder: of the data set.
        place: the name of its folder in data_dir; "" is data_dir itself.
        prepared: whether it was prepared before the builder looked.
        why: a line to print about the choice; may be empty.
    """

    builder: Llp
    place: str
    prepared: bool
    why: str = ""


@dataclass(frozen=True)
class Places:
    """Where one data set is prepared, or may be.

    Attributes:
        config: of the data set.
        root: the data_dir.
        open_in: a place's folder -> the builder of the data set there.
    """

    config: LlpConfig
    root: epath.Path
    open_in: Callable[[epath.Path], Llp]

    def open(self, place: str) -> Chosen:
        """The data set in a place, prepared or not."""
        there = self._folder(place).exists()
        builder = self.open_in(self.root / place if place else self.root)
        return Chosen(builder, place, there)

    def prepared(self) -> list[Chosen]:
        """What is prepared, the latest first."""
        beside = [each.name for each in self.root.glob("from-*") if _PLACE.fullmatch(each.name)]
        names = [name for name in ("", *beside) if self._folder(name).exists()]
        return sorted(map(self.open, names), key=lambda each: _age(each.builder))

    def choose(self, manual_dir: str | os.PathLike | None, wanted: object = None) -> Chosen:
        """What was prepared from the files of a folder, or is to be.

        Args:
            manual_dir: the folder of published files; None if none is known.
            wanted: `content` of the metadata: what has this is chosen if it is there.

        Raises:
            UserError: what was prepared is damaged; the folder holds nothing to prepare.
        """
        prepared = self.prepared()
        if self.config.seed is not None or not prepared:
            return self.open("")
        for each in prepared:
            if wanted is not None and _known(each.builder).get("content") == wanted:
                return replace(each, why=self._unlike(each.builder, manual_dir))
        if not manual_dir:
            return _latest(prepared)
        try:
            folder = folder_in(Path(manual_dir), self.config)
        except UserError as error:
            return _from_lost_folder(prepared, manual_dir, error)
        now = self._source_in(folder)
        return _from_these_files(prepared, now) or self._beside(prepared, now)

    def _source_in(self, folder: Path) -> dict:
        return source_in(folder, self.config, self.open("").builder.url_infos)

    def _unlike(self, builder: Llp, manual_dir: str | os.PathLike | None) -> str:
        """A line that says so if a folder no longer holds what data was prepared from."""
        source = _known(builder).get("source")
        try:
            there = manual_dir and source
            now = self._source_in(folder_in(Path(manual_dir), self.config)) if there else None
        except UserError:  # gone, or of no use now, which does not matter for what is prepared
            return ""
        if not now or only_deleted(source, now, self.config.features):
            return ""
        changed = differences(source, now)
        if not changed:
            return ""
        return (
            f"{now['folder']}: not what this run was trained on ({first_ten(changed)}); it goes on "
            f"with that, {builder.data_dir}; choose a new --workdir for the files of now"
        )

    def _folder(self, place: str) -> epath.Path:
        root = self.root / place if place else self.root
        return root / "llp" / self.config.name / str(Llp.VERSION)

    def _beside(self, prepared: list[Chosen], now: Mapping) -> Chosen:
        """A place for what is in a folder now, beside what was prepared before."""
        before = next((x for x in prepared if _came_from(x, now["folder"])), prepared[-1]).builder
        refuse_damaged(before)
        source = _known(before).get("source")
        changed = first_ten(differences(source, now)) if source else "which was not recorded"
        number = int(key_of(now), 16)
        # Files that changed while they were read lie under another key.
        while self._folder(place := place_named(number + 1)).exists():
            number = (number + 1) % 16**7
        chosen = self.open(place)
        why = (
            f"{now['folder']}: not what {before.data_dir} was prepared from ({changed}); preparing "
            f"it beside, in {chosen.builder.data_dir}"
        )
        return replace(chosen, why=why)


def place_number(place: str) -> int:
    """The name of a place as a number from 0, for other processes."""
    return int(place.removeprefix("from-"), 16) + 1 if place else 0


def place_named(number: int) -> str:
    """The inverse of place_number."""
    return f"from-{number - 1:07x}" if number else ""


def _known(builder: Llp) -> dict:
    """The metadata of a prepared data set."""
    with refusing_damage(builder.data_dir):
        return dict(builder.info.metadata.items())


def _from_these_files(prepared: list[Chosen], now: Mapping) -> Chosen | None:
    """What was prepared from the same files, or from the folder when it still had its features."""
    sources = [(each, _known(each.builder).get("source")) for each in prepared]
    for each, source in sources:
        with refusing_damage(each.builder.data_dir):
            if source and not differences(source, now):
                return each
    for each, source in sources:
        with refusing_damage(each.builder.data_dir):
            if source and only_deleted(source, now, each.builder.builder_config.features):
                return each
    return None


def _from_lost_folder(
    prepared: list[Chosen], manual_dir: str | os.PathLike, error: UserError
) -> Chosen:
    """What was prepared from a folder that is gone, latest first; else data of unknown origin."""
    folder = os.path.abspath(os.path.expanduser(manual_dir))
    found = [each for each in prepared if _came_from(each, folder)]
    unknown = [each for each in prepared if not _known(each.builder).get("source")]
    if found:
        return found[0]
    if unknown:
        refuse_damaged(unknown[0].builder)
        warn(f"{error}; taking {unknown[0].builder.data_dir}, whose files were not recorded")
        return unknown[0]
    origins = {_known(each.builder)["source"]["folder"]: None for each in prepared}
    raise UserError(
        f"{manual_dir}: no published files are there; what is prepared comes from "
        f"{first_ten(list(origins))}: name that, or no folder at all"
    ) from None


def _latest(prepared: list[Chosen]) -> Chosen:
    if len(prepared) > 1:
        warn(
            f"{prepared[0].builder.data_dir} is taken, the latest of {len(prepared)} that were "
            "prepared from different files; to choose, name their folder as manual_dir"
        )
    return prepared[0]


def _came_from(chosen: Chosen, folder: str) -> bool:
    with refusing_damage(chosen.builder.data_dir):
        source = _known(chosen.builder).get("source")
        return bool(source) and source["folder"] in (folder, os.path.join(folder, "llp"))


def _age(builder: Llp) -> float:
    """Less for what was prepared later."""
    path = builder.data_path / "metadata.json"
    try:
        return -os.stat(path).st_mtime
    except OSError:  # on cloud storage, or missing
        return -path.stat().mtime if path.exists() else 0
