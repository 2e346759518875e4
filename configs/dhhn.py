"""DHHN on LLP: dual hierarchical hybrid network (Jiang et al., ACM Multimedia 2022).

  python launch.py --config=configs/dhhn.py --workdir=W                  refinement, as published
  python launch.py --config=configs/dhhn.py:origin --workdir=W           on weak labels alone
  python launch.py --config=configs/dhhn.py:origin,synthetic --workdir=W on built-in synthetic data
  python launch.py --config=configs/dhhn.py:synthetic_videos --workdir=W on synthetic video files

A hierarchical parser (HCMN) and two networks of one modality train together. Refinement trains
them without the labels that MA removes: MA's first two stages run before, or
--config.dhhn.removed_labels=FILE gives their result (MA's published need_to_change.pkl, or a
removed_labels.npz of another run). The result has two parts: `init_from` and `export_to` are
the X of published X_audio.pt and X_video.pt.

Published test scores (segment level): audio 61.4, visual 63.4, audio-visual 56.8,
Type@AV 60.5, Event@AV 59.5.

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("refinement", "origin")


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    mode, made_up = common.chosen("dhhn", variant, VARIANTS)
    origin = mode == "origin"
    config = common.experiment("dhhn", ("dhhn", "model", "audio_net", "video_net"))
    config.seed = 1
    config.data.dataset, config.data.streams = "llp/base", "base"  # VGGish, ResNet-152, R(2+1)D

    config.dhhn.mode = mode
    config.dhhn.removed_labels = ""  # a .npz or MA's published .pkl: skips MA's stages
    config.dhhn.estimation_seed = 2
    config.dhhn.edit_video_target = True  # as MA's program

    # HCMN, whose encoder serves all three time scales.
    config.model.width = 512  # of all three networks
    config.model.heads = 1
    config.model.feed_forward = 512
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.0
    config.model.order = "parallel"  # of the two streams' updates
    config.model.norm = "post"

    config.audio_net = _guide(layers=1, repeats=4)
    config.video_net = _guide(layers=2, repeats=3)

    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule.kind = "step"
    config.schedule.learning_rate = ConfigDict()
    config.schedule.learning_rate.hcmn = 3e-4
    config.schedule.learning_rate.audio_net = 6e-4 if origin else 3e-4
    config.schedule.learning_rate.video_net = 6e-5 if origin else 3e-4
    config.schedule.factor = 0.1
    config.schedule.every_epochs = 10

    config.train.epochs = 10 if origin else 5
    config.train.batch_size = 64
    config.train.steps_per_call = 16  # ours

    config.eval.video_filter = "per_modality"
    config.eval.select = ("mean/audio", "mean/visual")  # each picks the epoch of one part
    config.eval.ties = "earlier"

    # MA's base training uses the values above, except for these.
    config.base = ConfigDict()
    config.base.schedule = ConfigDict({"learning_rate": 3e-4})
    config.base.train = ConfigDict({"epochs": 12, "batch_size": 16, "steps_per_call": 64})
    config.base.eval = ConfigDict({"select": "last", "ties": "later"})

    if made_up:
        config.data.dataset = f"llp/{made_up}"
        if made_up == "synthetic_videos":
            config.data.streams, config.extract.fidelity = "plain", "direct"
        config.train.batch_size = 16  # of 64, an epoch would have only 19 steps, or 7
        config.train.epochs = config.base.train.epochs = 10
    return config


def _guide(layers: int, repeats: int) -> ConfigDict:
    """A guiding network: x becomes x + encoder(x), `repeats` times with the same weights."""
    guide = ConfigDict()
    guide.heads = 8
    guide.feed_forward = 512
    guide.dropout = 0.1
    guide.layers = layers
    guide.repeats = repeats
    return guide
