"""The short form of chaos.py: a few kills on nine videos. Where they fall is told from files."""

from tests import chaos
from tests.held import start_held
from tests.launching import start


def start_until(*flags: str, until: chaos.Kill | None = None):
    """A run that waits for its kill where it would get beyond it, however late that comes."""
    if until is None:
        return start(*flags)
    if until.in_write:
        return start_held(*flags, moment="a state half written", of=until.place, count=2)
    stage, count = ("denoise", 1) if until.place == "ratios" else (until.place, 3)
    return start_held(*flags, moment="a state that is to be saved", of=stage, count=count)


def test_a_run_killed_again_and_again_ends_with_the_same_bits(published_folder, tmp_path):
    flags = [*chaos.FLAGS, f"--config.data.manual_dir={published_folder}"]
    flags.append("--config.train.epochs=8")
    fallen = chaos.chaos(start_until, flags, tmp_path, tmp_path / "tfds-killed", chaos.kills(4))
    assert sum("SIGKILL inside a checkpoint write" in place for place in fallen) >= 2
    assert sum("SIGTERM" in place for place in fallen) == 1


def test_a_plan_of_twenty_kills_is_of_every_stage_and_signal():
    planned = chaos.kills(20)
    assert len(planned) == 20
    assert {kill.place for kill in planned} == set(chaos.PLACES)
    assert sum(kill.in_write for kill in planned) >= 5
    assert sum(kill.place in chaos.TRAININGS and not kill.in_write for kill in planned) >= 5
