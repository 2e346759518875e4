"""MA on LLP: modality-aware labels (Wu and Yang, CVPR 2021).

  python launch.py --config=configs/ma.py --workdir=W               LLP, as published
  python launch.py --config=configs/ma.py:synthetic --workdir=W     built-in synthetic data
  python launch.py --config=configs/ma.py:synthetic_videos --workdir=W   synthetic video files

Three stages: base training, estimation of the labels that are absent from a modality, and
retraining without them. --config.ma.removed_labels=FILE only runs the last one, with the
published need_to_change.pkl or a removed_labels.npz of another run.

Published test scores (segment level): audio 60.3, visual 60.0, audio-visual 55.1,
Type@AV 58.9 (printed; the mean of the three is 58.5), Event@AV 57.9.

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    _, made_up = common.chosen("ma", variant)
    config = common.experiment("ma", ("ma", "model"))
    config.seed = 1  # of both trainings
    config.data.dataset = "llp/base"  # VGGish, ResNet-152, R(2+1)D
    config.data.streams = "base"

    config.ma.removed_labels = ""  # a .npz or the published .pkl: skips the first two stages
    config.ma.estimation_seed = 2
    config.ma.edit_video_target = True  # as the program; False is the paper's

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

    config.train.epochs = 12  # of each training
    config.train.batch_size = 16
    config.train.steps_per_call = 64  # ours

    config.eval.video_filter = "per_modality"
    config.eval.select = "last"  # the last epoch's model is kept
    config.eval.ties = "later"

    if made_up == "synthetic":
        config.data.dataset = "llp/synthetic"
        # Shorter than published: 1,200 training videos are overfitted sooner.
        config.train.epochs = 10
    if made_up == "synthetic_videos":
        config.data.dataset = "llp/synthetic_videos"
        config.data.streams = "plain"
        config.extract.fidelity = "direct"
        config.train.epochs = 10
    return config
