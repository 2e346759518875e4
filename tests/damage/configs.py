"""Flags, config files and work directories."""

import json
import os

from avvp_jax.metrics.scores import NAMES
from tests.damage.case import Case, Damage, put
from tests.damage.hostile import loop, nothing, trap
from tests.damage.place import ROOT, Place

SURFACE = "configs and flags"
HAN = (ROOT / "configs/han.py").read_bytes()


def flag(mechanism: str, given: str, says: str, method: str = "han", **more) -> Case:
    """A value of the config on the command line."""
    key = f"config.{given.split('=')[0]}"

    def make(place: Place) -> list[str]:
        return place.train(f"--config.{given}", method=method)

    return Case(SURFACE, mechanism, f"{given!a:.60}", (key, says), make, **more)


FLAGS = [
    flag("huge number", "model.width=100000000", "from 1 to 131072", launched=True),
    flag("huge number", "model.width=65536", "GB and there are"),
    flag("huge number", "model.layers=1000000", "from 1 to 100"),
    flag("huge number", "audio_net.repeats=1000000000", "from 1 to 100", "dhhn"),
    flag("huge number", "train.epochs=100000000000000", "from 1 to 2147483647"),
    flag("huge number", "num_seeds=4000000000", "from 1 to 65536"),
    flag("huge number", f"seed={10**40}", "from 0 to 4294967295"),
    flag("huge number", "schedule.learning_rate=1e400", "greater than 0, at most"),
    flag("out of range", "train.epochs=-1", "from 1 to"),
    flag("out of range", "train.batch_size=0", "from 1 to"),
    flag("out of range", "schedule.learning_rate=-1", "greater than 0"),
    flag("out of range", "schedule.factor=-3", "from 0 to"),
    flag("out of range", "optimizer.eps=-1", "from 0 to"),
    flag("out of range", "model.dropout=1.0", "less than 1"),
    flag("out of range", "pick_seed=-7", "from -1 to"),
    flag("out of range", "data.synthetic_seed=-1", "from 0 to"),
    flag("NaN or infinity", "schedule.learning_rate=nan", "greater than 0"),
    flag("NaN or infinity", "optimizer.b1=nan", "less than 1"),
    flag("NaN or infinity", "train.save_seconds=inf", "from 0 to"),
    flag("NaN or infinity", "jomold.audio_threshold=nan", "from -1e+09 to", "jomold"),
    flag("wrong type", "model.width=1e8", "invalid literal for int()"),
    flag("wrong type", "train.epochs=many", "invalid literal for int()"),
    flag("wrong type", "model.width=", "invalid literal for int()"),
    flag("wrong type", "model.cross_attention=maybe", "boolean"),
    flag("wrong type", "stages=3", "tuple of names"),
    flag("wrong type", "eval.splits=('val',", "Error while parsing"),
    flag("wrong type", "model=3", "overwrite"),
    flag("unknown name", "method=../han", "must be one of han, ma"),
    flag("unknown name", "data.dataset=llp/other", "must be one of llp/base"),
    flag("unknown name", "model.dtype=float64", "must be one of float32"),
    flag("unknown name", "eval.stage=../x", "han trains train"),
    flag("unknown name", "eval.select=segment/best", "must be 1 of segment/audio"),
    flag("unknown name", "eval.splits=dev", "'dev', which has no dense annotations"),
    flag("unknown key", "train.epoch=3", "did you mean epochs?", launched=True),
    flag("unknown key", "ma.removed_labels=x", "has no key 'ma'"),
    flag("duplicate", "eval.splits=val,val", "names a split twice"),
    flag("empty", "eval.splits=()", "is empty"),
    flag("nul byte", "data.data_dir=a\0b", "without a NUL"),
    flag("mismatch", "model.heads=3", "must be a multiple"),
    flag("mismatch", "data.streams=clip_clap", "is not in llp/base"),
    flag("stage order", "stages=retrain", "run estimate first", "ma", launched=True),
    flag("stage order", "stages=denoise", "run ratios first", "jomold"),
]


def file(mechanism: str, what: str, says: str, damage: Damage, name="x.py", **more) -> Case:
    """What --config names."""

    def make(place: Place) -> list[str]:
        put(place.root / name, damage)
        return [f"--config={place.root}/{name}", f"--workdir={place.workdir}"]

    return Case(SURFACE, mechanism, f"--config: {what}", (says,), make, **more)


def edited(mechanism: str, line: str, says: str) -> Case:
    """HAN's config file with a line more."""
    content = HAN.replace(b"    return config", f"    {line}\n    return config".encode())
    return file(mechanism, line, says, content)


FILES = [
    file("missing", "a file", "x.py cannot be read", nothing),
    file("empty", "a file", "x.py: AttributeError", b""),
    file("other format", "no Python", "x.py cannot be read: invalid syntax", b"def get_config(:"),
    file("other format", "another ending", "x.txt: not a Python file", HAN, name="x.txt"),
    file("other format", "a work directory's", "config.json: not", b"{}", name="config.json"),
    file("code in a pickle", "a .pt", "x.pt: not a Python file", trap, name="x.pt", launched=True),
    file("nul byte", "a file", "null bytes", b"\0" * 100),
    file("wrong encoding", "UTF-16", "x.py cannot be read", HAN.decode().encode("utf-16")),
    file("nested too deep", "a file", "x.py cannot be read: too many", b"(" * 10**4),
    file("folder for a file", "a folder", "x.py: not a Python file", os.mkdir),
    file("pipe or device", "a pipe", "x.py: not a Python file", os.mkfifo),
    file("symlink loop", "a link", "x.py: not a Python file", loop),
    file("wrong type", "it returns nothing", "NoneType", b"def get_config():\n    pass"),
    file("wrong type", "it returns a dict", "returns dict", b"def get_config():\n    return {}"),
    file("other format", "it raises", "x.py: RuntimeError: a b", b"raise RuntimeError('a\\nb')"),
    edited("wrong type", "config.seed = None", "config.seed=None must be a whole number"),
    edited("wrong type", "config.seed = True", "config.seed=True must be a whole number"),
    edited("wrong type", "config.seed = 1.5", "Could not override field 'seed'"),
    edited("wrong type", "config.eval.splits = ('val', 3)", "config.eval.splits=('val', 3) must"),
    file("other format", "it ends", "x.py ends the program", b"raise SystemExit(0)", launched=True),
    edited("nested too deep", "config.me = config", "config.me"),
    edited("wrong type", "config[3] = 4", "keys that are no words"),
    edited("wrong type", "config.schedule[3] = 4", "config.schedule.* has keys that are no words"),
    edited(
        "wrong type",
        "del config.schedule.learning_rate; config.schedule.learning_rate = {1: 2}",
        "config.schedule.learning_rate has values for 1",
    ),
    edited("huge number", "config.seed = 10**5000", "config.seed="),
    edited("wrong type", "del config.model", "config.model.width is missing"),
    edited("unknown key", "config.model.wdith = 3", "did you mean config.model.width?"),
    edited("unknown key", "config.ma = ConfigDict()", "config.method='han' does not go with"),
    edited("empty", "config.eval.splits = (',',)", "config.eval.splits=(',',) is empty"),
    edited("huge number", "config.model.layers = 10**30", "config.model.layers=1000"),
    edited("mismatch", "config.seed, config.num_seeds = 2**32 - 1, 2", "leaves no room"),
]


def workdir(mechanism: str, what: str, damage: Damage, below: str = "") -> Case:
    """What --workdir names."""

    def make(place: Place) -> list[str]:
        put(place.root / "there", damage)
        return [f"--config={ROOT}/configs/han.py", f"--workdir={place.root}/there{below}"]

    return Case(SURFACE, mechanism, f"--workdir: {what}", ("--workdir=", "choose another"), make)


def command(mechanism: str, what: str, says: str, *arguments: str) -> Case:
    """Arguments after those of a good training."""
    return Case(SURFACE, mechanism, what, (says,), lambda place: place.train(*arguments))


OTHERS = [
    workdir("file for a folder", "a file", b"x"),
    workdir("file for a folder", "below a file", b"x", "/W"),
    workdir("symlink loop", "a link", loop),
    workdir("overlong", "a name", nothing, "a" * 300),
    command("unknown name", "--mode", "--mode=../x", "--mode=../x"),
    command("unknown key", "a flag", "'spede'", "--spede=3"),
    command("unknown key", "no flag", "'x' is not a flag", "x"),
    command("missing", "--flagfile", "/nowhere", "--flagfile=/nowhere"),
]

SCORES = {"method": "han", "dataset": "llp/base", "seed": 1, "epoch": 1} | dict.fromkeys(
    NAMES, 50.0
)


def scores(mechanism: str, what: str, says: str, damage: Damage) -> Case:
    """The scores of a work directory that is compared."""

    def make(place: Place) -> list[str]:
        put(place.copy("trained") / "scores_test.json", damage)
        return ["--mode=compare", str(place.root / "trained"), str(place.root / "trained")]

    return Case(SURFACE, mechanism, f"scores: {what}", ("scores_test.json: ", says), make)


def changed(**values) -> bytes:
    return json.dumps(SCORES | values).encode()


COMPARED = [
    scores("pipe or device", "a pipe", "is not a file", os.mkfifo),
    scores("nested too deep", "brackets", "recursion", b"[" * 10**5),
    scores("NaN or infinity", "NaN", "from 0 to 100", changed(**{"segment/type": float("nan")})),
    scores("huge number", "a score", "from 0 to 100", changed(**{"segment/type": 1e300})),
    scores("huge number", "beyond floats", "damaged", changed(**{"segment/type": 10**400})),
    scores("empty", "no seeds", "from 0 to 100", changed(seeds=[])),
    scores("unknown name", "the method", "no method", changed(method="../x")),
]

CASES = [*FLAGS, *FILES, *OTHERS, *COMPARED]
