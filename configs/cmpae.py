"""CMPAE on LLP: evidence of presence and absence (Gao, Chen and Xu, CVPR 2023).

  python launch.py --config=configs/cmpae.py --workdir=W               LLP, as published
  python launch.py --config=configs/cmpae.py:synthetic --workdir=W     built-in synthetic data
  python launch.py --config=configs/cmpae.py:synthetic_videos --workdir=W   synthetic video files

Four stages: JoMoLD's noise estimator and noise ratios, training with JoMoLD's denoising, and the
choice of a threshold for each visual class. --config.cmpae.noise_ratios=FILE leaves out the first
two, with a published noise_ratios.npz, and --config.cmpae.thresholds=FILE the last, with a
published cmpae_s0_early.xlsx; give it to evaluate published weights (--config.init_from) as
published, because without it all classes are decided at 0.45.

The network has an activation before the average over the frames of a segment. On data that are
made up, which hold averages, it computes the activation of the average: another thing.

Published test scores (segment level): audio 64.2, visual 66.4, audio-visual 59.2,
Type@AV 63.3, Event@AV 62.8.

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    _, made_up = common.chosen("cmpae", variant)
    config = common.experiment("cmpae", ("cmpae", "estimator", "model"))
    config.seed = 0
    # ResNet-152's frames are not averaged: 8.1 GB, or half with data.frames_dtype=float16.
    config.data.dataset, config.data.streams = "llp/base_frames", "base_frames"

    config.cmpae.noise_ratios = ""  # a noise_ratios.npz: skips the first two stages
    config.cmpae.audio_threshold = 0.6  # of the ratios, as JoMoLD's
    config.cmpae.visual_threshold = 1.8
    config.cmpae.warmup = "published"
    config.cmpae.thresholds = ""  # a thresholds.npz, or a published .xlsx: skips the last stage
    config.cmpae.early_epoch = 8  # whose model the thresholds are chosen with

    config.model.width = 512
    config.model.heads = 1
    config.model.feed_forward = 512
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.5
    config.model.absence_dropout = 0.2
    config.model.crossed_share = 0.8  # of a stream: encoded with cross-modal attention
    config.model.fused_share = 0.7  # of a probability, in evaluation: from a pass with it
    config.model.order, config.model.norm = "parallel", "post"

    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule.kind = "step"
    config.schedule.learning_rate = 5e-4
    config.schedule.factor = 0.25
    config.schedule.every_epochs = 6

    config.train.epochs = 20
    config.train.batch_size = 128
    config.train.steps_per_call = 16  # ours

    config.eval.video_filter = "per_modality"
    config.eval.segment_threshold = 0.25
    config.eval.video_threshold = 0.45  # in training; then each visual class has its own
    config.eval.select = "mean"  # of the ten scores
    config.eval.ties = "later"

    # The noise estimator is JoMoLD's.
    config.estimator.schedule = ConfigDict({"learning_rate": 5e-4})
    config.estimator.train = ConfigDict({"epochs": 25})
    halves = {"segment_threshold": 0.5, "video_threshold": 0.5}
    config.estimator.eval = ConfigDict({"select": "event/audio", **halves})

    if made_up:
        config.data.dataset, config.data.streams = f"llp/{made_up}", "base"
        # Unlike published: with batches of 128, an epoch would have only 10 steps, or 4.
        config.train.batch_size = 16
        config.train.epochs = config.estimator.train.epochs = 12
    if made_up == "synthetic_videos":
        config.data.streams, config.extract.fidelity = "plain", "direct"
    return config
