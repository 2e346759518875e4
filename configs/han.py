"""HAN on LLP: hybrid attention network with MMIL pooling (Tian, Li and Xu, ECCV 2020).

  python launch.py --config=configs/han.py --workdir=W               LLP, as published
  python launch.py --config=configs/han.py:synthetic --workdir=W     built-in synthetic data
  python launch.py --config=configs/han.py:synthetic_videos --workdir=W   synthetic video files

Published test scores (segment level): audio 60.1, visual 52.9, audio-visual 48.9,
Type@AV 54.0, Event@AV 55.4.

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    _, made_up = common.chosen("han", variant)
    config = common.experiment("han")
    config.seed = 1
    config.data.dataset = "llp/base"  # VGGish, ResNet-152, R(2+1)D
    config.data.streams = "base"

    config.model.width = 512
    config.model.heads = 1
    config.model.feed_forward = 512
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.0
    config.model.order = "parallel"  # of the two streams' updates
    config.model.norm = "post"

    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule.kind = "step"
    config.schedule.learning_rate = 3e-4
    config.schedule.factor = 0.1
    config.schedule.every_epochs = 10

    config.train.epochs = 40
    config.train.batch_size = 16
    config.train.steps_per_call = 64  # ours

    config.eval.video_filter = "global"
    config.eval.select = "segment/type"
    config.eval.ties = "later"

    if made_up == "synthetic":
        config.data.dataset = "llp/synthetic"
        # Shorter than published: 1,200 training videos need fewer epochs.
        config.train.epochs = 12
    if made_up == "synthetic_videos":
        config.data.dataset = "llp/synthetic_videos"
        config.data.streams = "plain"
        config.extract.fidelity = "direct"
        # Slower than published: 400 training videos are learnt by heart in a few epochs.
        config.schedule.learning_rate = 1e-4
        config.train.epochs = 20
    return config
