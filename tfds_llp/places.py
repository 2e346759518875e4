"""Where data is prepared: in data_dir, and what comes from other files in data_dir/from-KEY.

A data_dir is shared by runs, so that what was prepared there stays as it is.
"""

import os
from collections.abc import Callable, Mapping

from etils import epath

from avvp_jax.errors import first_ten, warn
from tfds_llp.integrity import refuse_damaged, refusing_damage
from tfds_llp.llp import Llp
from tfds_llp.sources import differences, key_of, source_in

_PREFIX = "from-"

# Place -> the builder of the data set that is, or would be, prepared there.
OpenIn = Callable[[epath.Path], Llp]


def choose(open_in: OpenIn, root: epath.Path, manual_dir: str | os.PathLike | None) -> Llp:
    """The builder of what was prepared from the files of a folder, or is to be.

    Prints a line where that is not what was prepared before.

    Args:
        root: the data_dir.
        manual_dir: the folder of published files; None if none is known.

    Raises:
        UserError: what was prepared is damaged.
    """
    first = open_in(root)
    if first.builder_config.seed is not None:
        return first
    places = [root, *sorted(root.glob(f"{_PREFIX}*"))]
    prepared = [builder for builder in map(open_in, places) if builder.data_path.exists()]
    if not prepared:
        return first
    now = (
        source_in(manual_dir, first.builder_config.features, first.url_infos)
        if manual_dir
        else None
    )
    if now is None:
        return _without_files(prepared, manual_dir)
    return _of_these_files(prepared, now) or _beside(open_in, root, prepared, now)


def place_of(builder: Llp) -> str:
    """The name of the folder in data_dir that holds a data set; "" if it is data_dir itself."""
    name = builder.data_dir_root.name
    return name if name.startswith(_PREFIX) else ""


def place_number(place: str) -> int:
    """The name of a place as a number from 0, for other processes."""
    return int(place.removeprefix(_PREFIX), 16) + 1 if place else 0


def place_named(number: int) -> str:
    """The inverse of place_number."""
    return f"{_PREFIX}{number - 1:07x}" if number else ""


def source_of(builder: Llp) -> dict | None:
    """What data was prepared from; None for synthetic and for older data."""
    return dict(builder.info.metadata.items()).get("source")


def _of_these_files(prepared: list[Llp], now: Mapping) -> Llp | None:
    """The data that was prepared from the same files."""
    for builder in prepared:
        with refusing_damage(builder.data_dir):
            source = source_of(builder)
            if source and not differences(source, now):
                return builder
    return None


def _beside(open_in: OpenIn, root: epath.Path, prepared: list[Llp], now: Mapping) -> Llp:
    """A builder that prepares what is in the folder now, beside what was prepared before."""
    before = next((b for b in prepared if _came_from(b, now["folder"])), prepared[0])
    refuse_damaged(before)
    source = source_of(before)
    changed = first_ten(differences(source, now)) if source else "which was not recorded"
    builder = open_in(root / f"{_PREFIX}{key_of(now)}")
    print(
        f"{now['folder']}: not what {before.data_dir} was prepared from ({changed}); preparing "
        f"it beside, in {builder.data_dir}",
        flush=True,
    )
    return builder


def _without_files(prepared: list[Llp], manual_dir: str | os.PathLike | None) -> Llp:
    """The data that was prepared from a folder whose files are gone; the latest if unknown."""
    newest = sorted(prepared, key=_age)
    if not manual_dir:
        if len(prepared) > 1:
            warn(
                f"{newest[0].data_dir} is taken, the latest of {len(prepared)} that were prepared "
                "from different files; to choose, name their folder as manual_dir"
            )
        return newest[0]
    folder = os.path.abspath(os.path.expanduser(manual_dir))
    wanted = [builder for builder in newest if _came_from(builder, folder)]
    chosen = (wanted or newest)[0]
    if not wanted:
        source = source_of(chosen)
        origin = source["folder"] if source else "files that were not recorded"
        warn(
            f"{manual_dir}: no published files are there; taking {chosen.data_dir}, prepared from "
            f"{origin}"
        )
    return chosen


def _came_from(builder: Llp, folder: str) -> bool:
    with refusing_damage(builder.data_dir):
        source = source_of(builder)
        return bool(source) and source["folder"] in (folder, os.path.join(folder, "llp"))


def _age(builder: Llp) -> float:
    with refusing_damage(builder.data_dir):
        return -(builder.data_path / "metadata.json").stat().mtime
