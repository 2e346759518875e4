"""The table of damaged inputs: each ends in one line, with nothing written and nothing executed."""

import collections
import os

import pytest

from avvp_jax.modes import evaluate, predict, train
from tests.damage import (
    annotations,
    artefacts,
    checkpoints,
    configs,
    embeddings,
    features,
    prepared,
    thresholds,
    workdirs,
)
from tests.damage.case import Case, put
from tests.damage.hostile import EXECUTED, UNREADABLE, torch_bytes
from tests.damage.place import Place, contents, mistake
from tests.damage.shared import make_shared
from tests.launching import launch

TABLES = (features, prepared, annotations, configs, checkpoints, workdirs, artefacts, embeddings)
TABLES += (thresholds,)
CASES = [case for table in TABLES for case in table.CASES]
LAUNCHED = [case for case in CASES if case.launched]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_shared(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def place(tmp_path, inputs):
    return Place(tmp_path, inputs)


def assert_refused(message: str | None, case: Case, place: Place, before: dict) -> None:
    assert message is not None, "it was accepted"
    assert message.isprintable() and len(message) < 4000, "more than a line"
    for part in case.says:
        assert part in message
    assert not list(place.root.rglob(EXECUTED))
    assert contents(place.root, place.shared) == before


@pytest.mark.parametrize("case", CASES, ids=str)
def test_damage_ends_in_one_line_and_nothing_else(case, place):
    if case.mechanism == UNREADABLE and os.geteuid() == 0:
        pytest.skip("root may read anything")
    arguments = case.make(place)
    before = contents(place.root, place.shared)
    assert_refused(mistake(arguments), case, place, before)


@pytest.mark.parametrize("case", LAUNCHED, ids=str)
def test_a_process_of_its_own_exits_with_2_after_one_line(case, place):
    arguments = case.make(place)
    before = contents(place.root, place.shared)
    process = launch(*arguments)
    assert process.returncode == 2
    told = process.stderr
    assert told.count("\n") == 1, told
    # A progress bar may have stood on the line before.
    message = told.split("\r")[-1].removesuffix("\n").removeprefix("launch.py: ")
    assert_refused(message, case, place, before)


class Accepted(Exception):
    """Everything was read, and writing would begin."""


def accepted(*_, **__):
    raise Accepted


WHOLE = {
    "published files": lambda place: place.prepare(),
    "prepared data": lambda place: place.train(),
    "a .pt": lambda place: place.weights(place.shared / "han.pt"),
    "a work directory": lambda place: place.weights(place.copy("trained")),
    "label embeddings": lambda place: [
        put(place.root / "x.pt", torch_bytes(embeddings.vectors())),
        place.train(f"--config.leap.label_embeddings={place.root}/x.pt", method="leap"),
    ][1],
    **{
        method: lambda place, method=method, key=key, content=content: [
            put(place.root / "x.npz", artefacts.archive(content)),
            place.train(f"--config.{method}.{key}={place.root}/x.npz", method=method),
        ][1]
        for method, key, content in (
            ("ma", "removed_labels", artefacts.REMOVED),
            ("dhhn", "removed_labels", artefacts.REMOVED),
            ("jomold", "noise_ratios", artefacts.RATIOS),
            ("cmpae", "noise_ratios", artefacts.RATIOS),
        )
    },
}


@pytest.mark.parametrize("what", WHOLE)
def test_what_is_whole_is_accepted(what, place, monkeypatch):
    """The cases differ from these in their damage alone."""
    monkeypatch.setattr(train, "remember", accepted)
    for mode in (train, evaluate, predict):
        monkeypatch.setattr(mode, "make_writer", accepted)
    with pytest.raises(Accepted):
        mistake(WHOLE[what](place))


def test_the_table_is_as_long_and_varied_as_asked_for(capsys):
    surfaces = collections.defaultdict(collections.Counter)
    for case in CASES:
        surfaces[case.surface][case.mechanism] += 1
    mechanisms = {case.mechanism for case in CASES}
    with capsys.disabled():
        print()
        for surface, found in surfaces.items():
            print(f"{surface}: {found.total()} damaged inputs, {len(found)} mechanisms")
        print(f"all: {len(CASES)}, {len(mechanisms)} mechanisms, {len(LAUNCHED)} launched too")
    assert len(CASES) == len(set(map(str, CASES))) >= 150
    assert len(mechanisms) >= 15
    assert len(LAUNCHED) >= 10
    assert len(surfaces) == 5
    for surface, found in surfaces.items():
        assert found.total() >= 5, surface
        assert len(found) >= 10, surface
