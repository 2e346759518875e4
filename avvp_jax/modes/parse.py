"""Says what is heard and what is seen in videos of any length."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import jax
from ml_collections import ConfigDict

from avvp_jax.errors import UserError, one_line
from avvp_jax.experiment.versions import commit, versions
from avvp_jax.experiment.weights import read_weights, spec_of_weights
from avvp_jax.media.folders import name_of, videos_in
from avvp_jax.methods import stages_of
from avvp_jax.modes.parsing import ByNetwork, VideoParser, extractor_for
from avvp_jax.modes.zero_shot import teachers_parser
from avvp_jax.reports.pages.parse_page import ParsePage
from avvp_jax.reports.parses import Parse, events_table, write_all_events, write_parse
from avvp_jax.reports.timelines import draw_timeline
from avvp_jax.runtime import processes
from avvp_jax.storage.writing import absolute, make_folder
from avvp_jax.training.run import make_predictor
from avvp_jax.training.sequence import final_stage

FOLDER = "parses"
_LONGEST_NAME = 220  # bytes; file systems take 255, with endings and what a half file is called


def parse(config: ConfigDict, workdir: str, videos: Sequence[str]) -> int:
    """Parses videos with the model of the work directory, or of `config.init_from`.

    With `config.parse.teachers` teachers do it alone.

    Args:
      videos: files, and folders of them.

    Returns:
      The exit code: 2 if some cannot be used, and each of those is named in a line; else 0.

    Raises:
      UserError: no video is named, or there is no model.
    """
    if not videos:
        raise UserError(
            "--mode=parse needs videos: name files, or folders of them, after the flags"
        )
    if processes.several():
        raise UserError("--mode=parse is for one process; share the videos out among commands")
    problems: list[UserError] = []
    named = {os.path.abspath(path): path for path in _files(videos, problems)}  # each once
    paths = list(_short_names(named.values(), problems))
    parser, zero_shot = None, bool(config.parse.teachers)
    if paths:
        parser = teachers_parser(config) if zero_shot else video_parser(config, workdir)
    folder, names = os.path.join(workdir, FOLDER), set()
    make_folder(folder)
    # Or says now, and not after the first video, why it cannot.
    write_all_events(folder, [], zero_shot)
    page = ParsePage(folder, config.report.embed_media)
    try:
        for found in parser.parses(paths) if parser else ():
            if not isinstance(found, Parse):
                problems.append(found)
                print(f"launch.py: {found}", file=sys.stderr, flush=True)
                continue
            found = replace(found, name=_own_name(found.name, names))
            names.add(found.name)
            _write(folder, found)
            print(events_table(found), flush=True)
            page.add(found)
    finally:
        page.write()
    print(f"{folder}: {len(names)} of {len(names) + len(problems)} videos", flush=True)
    return 2 if problems else 0


def video_parser(config: ConfigDict, workdir: str) -> VideoParser:
    """The parser of a config, with the weights of its work directory or of `config.init_from`."""
    source = config.init_from or workdir
    stage, spec = final_stage(config, stages_of(config)), spec_of_weights(config, source)
    network = stage.result_network(config, spec)
    weights = read_weights(source, network, config, config.eval.stage)
    model = {
        "method": config.method,
        "weights": absolute(source),
        "seed": weights.seed,
        "epoch": weights.epoch,
    }
    extract = config.extract
    arithmetic = extract.dtype, extract.precision
    predictor = make_predictor(config, network)
    return VideoParser(
        extractor=extractor_for(spec, extract.weights_dir or None, arithmetic),
        judge=ByNetwork(predictor, jax.device_put(weights.variables), spec),
        task=spec.task,
        decision=weights.decision,
        fidelity=extract.fidelity,
        hop=config.parse.hop or None,
        any_length=spec.any_length,
        facts={"model": model, "hop": config.parse.hop, "versions": versions(), "commit": commit()},
    )


def _files(videos: Sequence[str], problems: list[UserError]) -> Iterator[str]:
    """The files among what is named, and those in folders; notes and says what cannot be used."""
    for path in map(os.path.expanduser, videos):
        if not os.path.isdir(path):
            yield path
            continue
        try:
            yield from videos_in(path)
        except UserError as error:
            problems.append(error)
            print(f"launch.py: {error}", file=sys.stderr, flush=True)


def _short_names(paths: Iterable[str], problems: list[UserError]) -> Iterator[str]:
    """Those whose names leave room for endings; notes and says which do not."""
    for path in paths:
        if len(one_line(name_of(path)).encode()) <= _LONGEST_NAME:
            yield path
            continue
        said = f"{path}: has a name of more than {_LONGEST_NAME} bytes; shorten it"
        problems.append(UserError(one_line(said)))
        print(f"launch.py: {problems[-1]}", file=sys.stderr, flush=True)


def _own_name(name: str, taken: set[str]) -> str:
    """A name for a video's files, which no other video of this call has."""
    name = one_line(name) or "video"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _write(folder: str, parse: Parse) -> None:
    write_parse(folder, parse)
    task = replace(parse.task, segments=len(parse.segments))
    picture = os.path.join(folder, f"{parse.file_name}.png")
    draw_timeline(picture, parse.title, task, parse.probs["frame_prob"], parse.segments)
    # After each video: a signal may end this process before there is another.
    write_all_events(folder, [parse], parse.zero_shot)
