"""JoMoLD on LLP: joint-modal label denoising (Cheng et al., ECCV 2022).

  python launch.py --config=configs/jomold.py --workdir=W               LLP, as published
  python launch.py --config=configs/jomold.py:synthetic --workdir=W     built-in synthetic data
  python launch.py --config=configs/jomold.py:synthetic_videos --workdir=W   synthetic video files

Three stages: training of a noise estimator without cross-modal attention, estimation of noise
ratios with it, and denoised training. --config.jomold.noise_ratios=FILE only runs the last one,
with a published noise_ratios.npz.

Published test scores (segment level): audio 61.3, visual 63.8, audio-visual 57.2,
Type@AV 60.8, Event@AV 59.9.

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    _, made_up = common.chosen("jomold", variant)
    config = common.experiment("jomold", ("jomold", "model"))
    config.seed = 6
    config.data.dataset = "llp/base"  # VGGish, ResNet-152, R(2+1)D
    config.data.streams = "base"

    config.jomold.noise_ratios = ""  # a noise_ratios.npz: skips the first two stages
    config.jomold.audio_threshold = 0.6
    config.jomold.visual_threshold = 1.8
    config.jomold.warmup = "published"  # "linear" is what the paper describes

    config.model.width = 512
    config.model.heads = 1
    config.model.feed_forward = 512
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.5
    config.model.order = "parallel"  # of the two streams' updates
    config.model.norm = "post"

    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule.kind = "step"
    config.schedule.learning_rate = 5e-4
    config.schedule.factor = 0.25
    config.schedule.every_epochs = 6

    config.train.epochs = 25  # of each training
    config.train.batch_size = 128
    config.train.steps_per_call = 16  # ours

    config.eval.video_filter = "per_modality"
    config.eval.select = "event/audio"
    config.eval.ties = "later"

    if made_up == "synthetic":
        config.data.dataset = "llp/synthetic"
        # Unlike published: with batches of 128, an epoch of 1,200 videos has only 10 steps.
        config.train.batch_size = 16
        config.train.epochs = 12
    if made_up == "synthetic_videos":
        config.data.dataset = "llp/synthetic_videos"
        config.data.streams = "plain"
        config.extract.fidelity = "direct"
        # Unlike published: with batches of 128, an epoch of 400 videos has only 4 steps.
        config.train.batch_size = 16
        config.train.epochs = 12
    return config
