"""The keys that all configs have, with the values that do not come from a paper."""

from ml_collections import ConfigDict

# Variants on data that are made up: features, or video files from which plain ones are extracted.
MADE_UP = ("synthetic", "synthetic_videos")


def experiment(method: str, sections: tuple[str, ...] = ("model",)) -> ConfigDict:
    """A config for a method. Its file sets the values that are None here, from its paper.

    Args:
      method: its name.
      sections: the sections of the method in order: "model", and those specific to the method.
    """
    config = ConfigDict()
    config.method = method
    config.seed = None
    config.num_seeds = 1  # independent runs, with this seed and the ones after it
    config.seeds_at_once = 0  # how many of them train together; 0: as many as fit in memory
    config.pick_seed = -1  # whose model is used for plots, export and predict; -1: best on val
    config.stages = ()  # some of the method's stages; empty runs all
    config.data = _data()
    for section in sections:
        config[section] = _model() if section == "model" else ConfigDict()
    config.optimizer = ConfigDict()
    config.schedule = ConfigDict()
    config.mesh = ConfigDict()  # no effect on results except rounding
    config.mesh.devices = 0  # how many to use; 0 is all
    config.mesh.seeds = 0  # devices to share seeds among, at most; others share batches; 0: all
    config.train = _train()
    config.eval = _eval()
    config.extract = _extract()
    config.parse = ConfigDict()
    config.parse.hop = 0.0  # --mode=parse: seconds between windows; 0: a window's length
    config.parse.teachers = ""  # --mode=parse: classes.csv; CLIP and CLAP parse, without a parser
    config.report = ConfigDict()  # the pages report.html
    config.report.videos = ""  # the folder of the videos, which report.html then plays
    config.report.embed_media = False  # puts short ones into the page
    config.init_from = ""  # a work directory, a published .pt, or its folder
    config.export_to = ""  # --mode=export: the .pt to write
    return config


def _data() -> ConfigDict:
    data = ConfigDict()
    data.dataset = None
    data.streams = None
    data.data_dir = "~/tensorflow_datasets"  # prepared data lives here
    data.manual_dir = ""  # the published files, or one's own; empty is DATA_DIR/downloads/manual
    data.allow_missing_features = False
    data.segments = 10  # of a clip of a folder of one's own (dataset "folder"), at most
    data.segment_seconds = 1.0  # how long a segment of it is
    data.val_share = 0.1  # of train.csv that becomes val, if there is no val.csv
    data.split_seed = 0  # which of it
    data.synthetic_seed = 0  # of data that are made up
    data.frames_dtype = "float32"  # of frames that are kept; float16 takes half the room
    data.features_only = ""  # --mode=predict: a feature folder without annotations
    data.feed = "auto"  # device holds all features, stream reads from disk; no effect on results
    return data


def _model() -> ConfigDict:
    model = ConfigDict()
    model.width = None
    model.heads = None
    model.feed_forward = None
    model.layers = None
    model.dropout = None
    model.visual_dropout = None
    model.order = None  # of the two streams' updates
    model.norm = None
    model.cross_attention = True
    set_arithmetic(model)
    return model


def set_arithmetic(model: ConfigDict) -> None:
    """Sets how a network computes, whichever it is."""
    model.dtype = "float32"  # or bfloat16: compute only, parameters stay float32
    model.precision = "highest"  # of float32 products; or high, fastest: see docs/performance.md


def _train() -> ConfigDict:
    train = ConfigDict()
    train.epochs = None
    train.batch_size = None
    train.shuffle = True
    train.generator = "threefry2x32"  # or rbg: faster, but bits depend on seeds_at_once and mesh
    train.steps_per_call = None  # steps in one compiled call; no effect on results
    train.save_seconds = 60.0  # between checkpoints, if epochs are shorter than this
    return train


def _eval() -> ConfigDict:
    evaluation = ConfigDict()
    evaluation.splits = ("val", "test")
    evaluation.video_filter = None
    evaluation.segment_threshold = 0.5  # that a segment's probability must reach
    evaluation.video_threshold = 0.5  # and its video's
    evaluation.select = None  # the val score that picks the epoch
    evaluation.ties = None  # which of several epochs with equal scores: "earlier" or "later"
    evaluation.batch_size = 64  # no effect on results except rounding
    evaluation.plots = 0  # timelines to draw for each split
    evaluation.stage = ""  # the stage whose model is evaluated; empty is the method's last
    return evaluation


def _extract() -> ConfigDict:
    extract = ConfigDict()  # how features are made of videos, to parse or of a folder
    extract.fidelity = "published"  # or direct: without the published programs' JPEG and faults
    extract.weights_dir = ""  # of the encoders' weights; empty is ~/.cache/avvp_jax/weights
    extract.dtype = "float32"  # or bfloat16, as of model
    extract.precision = "highest"
    return extract


def chosen(file: str, variant: str, variants: tuple[str, ...] = ()) -> tuple[str, str]:
    """Parses the variant of a config file.

    Args:
      file: name of the file in configs/, without the ending.
      variant: what follows the colon on the command line.
      variants: the file's variants other than those of MADE_UP; the first one is the default.

    Returns:
      The name of the variant, and the one of MADE_UP, or "".

    Raises:
      ValueError: the file has no such variant.
    """
    asked = [name for name in variant.split(",") if name]
    named = [name for name in asked if name not in MADE_UP] or [*variants[:1]]
    data = [name for name in asked if name in MADE_UP]
    if len(named) == 1 and named[0] in variants and len(set(data)) < 2:
        return named[0], "".join(data[:1])
    if not variants and variant in ("", *MADE_UP):
        return "", variant
    known = " or ".join(MADE_UP)
    if variants:
        known = f"{', '.join(variants)}, each also with ,{' or ,'.join(MADE_UP)}"
    raise ValueError(f"configs/{file}.py has no variant {variant!r}; known: {known}")
