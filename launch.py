"""Trains, evaluates, predicts with and exports parsers, and parses videos. See the README.

python launch.py --config=configs/han.py[:synthetic] --workdir=W [--mode=train|eval|predict|export]
                 [--config.KEY=VALUE ...]
                 [--coordinator=HOST:PORT --num_processes=N --process_id=0..N-1 | --num_processes=1]
python launch.py --mode=parse --workdir=W [--config.KEY=VALUE ...] VIDEO_OR_FOLDER ...
python launch.py --mode=parse --workdir=W --config.parse.teachers=classes.csv VIDEO_OR_FOLDER ...
python launch.py --mode=compare W1 W2 ... [--config.report=FILE.html]
"""

import contextlib
import io
import os
import re
import sys
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from avvp_jax.errors import UserError, cause, one_line
from avvp_jax.runtime import commands, preemption, processes

MODES = ("train", "eval", "predict", "export", "parse", "compare")

flags.DEFINE_string("workdir", None, "Where a run keeps its config, checkpoints and results.")
flags.DEFINE_string("coordinator", None, "HOST:PORT of the first of several processes.")
flags.DEFINE_integer("num_processes", None, "How many share the run; 1 is enough to run alone.")
flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0.")
flags.DEFINE_enum("mode", "train", MODES, "What to do.")


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; without --config, the work directory's config is the default."""
    try:
        flags.FLAGS.set_gnu_getopt()  # "--config FILE --help" asks for help too
        argv = sys.argv = with_flag_files(argv)  # config_flags looks for overrides in sys.argv
        given = config_file(argv)
        flags.FLAGS(argv, known_only=True)
        if flags.FLAGS.mode == "compare":
            refuse_other_keys(argv)
            config_flags.DEFINE_config_dict("config", ConfigDict({"report": ""}))
            return flags.FLAGS(argv)
        if not flags.FLAGS.workdir:
            raise UserError("--workdir=DIR is missing: where the run keeps its results")
        if given is not None:
            refuse_other_files(given)
            config_flags.DEFINE_config_file("config", help_string="An experiment in configs/.")
        elif teachers_alone(argv):
            folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")
            config_flags.DEFINE_config_file("config", os.path.join(folder, "valor.py"))
        else:
            from avvp_jax.experiment.records import recall_for

            workdir = os.path.expanduser(flags.FLAGS.workdir)
            config_flags.DEFINE_config_dict("config", recall_for(workdir, flags.FLAGS.mode))
        try:
            rest = flags.FLAGS(argv)
        except SystemExit:  # raised by the config file; --help has ended the program above
            raise UserError(
                f"--config={given} ends the program; see the files in configs/"
            ) from None
        if len(rest) > 1 and flags.FLAGS.mode != "parse":
            raise UserError(f"{rest[1]!r} is not a flag; values are given as --config.KEY=VALUE")
        config = flags.FLAGS.config
        if not isinstance(config, ConfigDict):
            getattr(config, "method", None)  # a config file that cannot be read fails only here
            raise TypeError(f"get_config() returns {type(config).__name__}, not a ConfigDict")
        return rest
    except UserError as error:
        stop(error)
    # Config files and overrides are the user's, so any exception in them is a user error.
    except Exception as error:
        stop(UserError(explain(error, argv)))


def teachers_alone(argv: list[str]) -> bool:
    """Whether teachers parse in a work directory where nothing was trained: any config will do."""
    named = any(re.match("--?config[.]parse[.]teachers(=|$)", arg) for arg in argv)
    if flags.FLAGS.mode != "parse" or not named:
        return False
    from avvp_jax.storage.reading import is_there  # here: it may be on cloud storage

    return not is_there(os.path.join(os.path.expanduser(flags.FLAGS.workdir), "config.json"))


def with_flag_files(argv: list[str]) -> list[str]:
    """The command line with the flags that --flagfile=FILE names, in its place.

    Raises:
      UserError: a file cannot be read, holds no flags, or includes itself.
    """
    warning = io.StringIO()
    try:
        with contextlib.redirect_stderr(warning):
            flagged = [argv[0], *flags.FLAGS.read_flags_from_files(argv[1:], force_gnu=False)]
        reason = warning.getvalue()
        if flagged != argv:
            flagged = [_as_a_flag(arg) for arg in flagged]
            if any("\0" in arg for arg in flagged):
                reason = "not a text file"
    except (flags.Error, OSError, ValueError, RecursionError) as error:
        flagged, reason = argv, cause(error)
    if reason:
        named = re.findall(r"--?flagfile[= ]\S*", " ".join(argv)) or ["--flagfile"]
        raise UserError(
            f"{' '.join(named)}: cannot be read ({one_line(reason)}); give a text file with one "
            "--FLAG=VALUE in a line"
        )
    return flagged


def _as_a_flag(line: str) -> str:
    """A line of a file of flags: without a byte-order mark, and "--FLAG VALUE" with "="."""
    line = line.removeprefix("\ufeff")
    return re.sub(r"^(--?[\w.]+)[ \t]+(?=\S)", r"\1=", line)


def config_file(argv: list[str]) -> str | None:
    """The value of --config; None if it is not given.

    Raises:
      UserError: it is given more than once.
    """
    given = []
    for arg, following in zip(argv[1:], [*argv[2:], ""], strict=False):
        if match := re.fullmatch("--?config(=(.*))?", arg, re.DOTALL):
            given.append(following if match[1] is None else match[2])
    if len(given) > 1:
        raise UserError(f"--config is given {len(given)} times ({', '.join(given)}); give one")
    return given[0] if given else None


def refuse_other_keys(argv: list[str]) -> None:
    """Checks that --mode=compare, which has no config, is given the one key that it knows.

    Raises:
      UserError: it is given another.
    """
    for arg in argv[1 : argv.index("--") if "--" in argv else None]:
        if re.match(r"--?config(?!\.report(=|$))([.=]|$)", arg):
            raise UserError(f"{arg}: --mode=compare takes no config, only --config.report=FILE")


def refuse_other_files(given: str) -> None:
    """Checks that --config is a Python file, because it will be run.

    Raises:
      UserError: it is not.
    """
    path = given.partition(":")[0]
    if not path.endswith(".py") or (os.path.lexists(path) and not os.path.isfile(path)):
        raise UserError(
            f"--config={given}: not a Python file; give one of configs/, or leave --config "
            "out where --workdir has been trained in"
        )


def explain(error: Exception, argv: list[str]) -> str:
    """Explains in one line what is wrong with the command line."""
    text = one_line(error)
    # config_flags reports an unknown key as the key in quotes, sometimes with a hint.
    missing = re.match(r"[\"'\\]+(\w+)\\?'", text)
    for arg in argv[1:] if missing else ():
        if missing[1] in re.split(r"[-.=]+", arg):
            hint = re.search(r'Did you mean "(\w+)', text)
            help_ = f"did you mean {hint[1]}?" if hint else "see the files in configs/"
            return f"{arg}: the config has no key {missing[1]!r}; {help_}"
    # ml_collections puts the config file's traceback into the message; the last line is the cause.
    if "Traceback" in text or isinstance(error, (OSError, SyntaxError)):
        cause = [line for line in str(error).splitlines() if line.strip()][-1].strip()
        return f"--config={config_file(argv)} cannot be read: {cause}; see the files in configs/"
    if isinstance(error, flags.Error) or config_file(argv) is None:
        return f"{text}; see python launch.py --help"
    return (
        f"--config={config_file(argv)}: {type(error).__name__}: {text}; see the files in configs/"
    )


def stop(error: UserError) -> NoReturn:
    commands.stop("launch.py", error)


def main(argv: list[str]) -> None:
    if flags.FLAGS.mode == "compare":
        from avvp_jax.modes import comparison

        try:
            comparison.run(argv[1:], flags.FLAGS.config.report)
        except UserError as error:
            stop(error)
        processes.leave(0)
    # Orbax warns about files that it never writes, and also logs the errors that it raises.
    logging.set_verbosity(logging.FATAL)
    given = flags.FLAGS

    def work() -> int:
        from avvp_jax.modes import run  # here, because it is slow

        return run(given.config, given.workdir, given.mode, argv[1:])

    of_others = given.coordinator, given.num_processes, given.process_id
    commands.carry_out("launch.py", work, *of_others)


if __name__ == "__main__":
    preemption.watch()
    app.run(main, flags_parser=parse_flags)
