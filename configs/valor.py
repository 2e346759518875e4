"""VALOR, VALOR+ and VALOR++ on LLP (Lai, Chen and Wang, NeurIPS 2023).

  python launch.py --config=configs/valor.py --workdir=W                  VALOR, as published
  python launch.py --config=configs/valor.py:plus --workdir=W             VALOR+
  python launch.py --config=configs/valor.py:plus_plus --workdir=W        VALOR++
  python launch.py --config=configs/valor.py:plus,synthetic --workdir=W   on built-in synthetic data
  python launch.py --config=configs/valor.py:plus,synthetic_videos --workdir=W   synthetic videos

Two teachers, CLAP and CLIP, label every segment of the training videos. Their labels
(segment_pseudo_labels) come with the published features, or are made of videos with
python -m tfds_llp.extract, or of logits with python -m tfds_llp.elaborate. VALOR and VALOR+ read
the base features, VALOR++ those of CLAP and CLIP.

Published test scores (segment level, audio, visual, audio-visual, Type@AV, Event@AV):
VALOR 61.8 65.9 58.4 62.0 61.5, VALOR+ 62.8 66.7 60.0 63.2 62.3, VALOR++ 68.1 68.4 61.9
66.2 66.8.

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("valor", "plus", "plus_plus")


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    which, made_up = common.chosen("valor", variant, VARIANTS)
    plus, plus_plus = which != "valor", which == "plus_plus"
    config = common.experiment(f"valor_{which}" if plus else "valor")
    config.seed = {"valor": 1000, "plus": 64, "plus_plus": 87}[which]
    # VGGish and ResNet-152, or CLAP and CLIP; R(2+1)D with both.
    config.data.dataset = "llp/clip_clap" if plus_plus else "llp/base"
    config.data.streams = "clip_clap" if plus_plus else "base"

    config.model.width = 256 if plus else 512
    config.model.heads = 8
    config.model.feed_forward = 1024
    config.model.layers = 4 if plus else 1  # start as copies of one
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.0
    config.model.order = "sequential"  # the visual update sees the updated audio
    config.model.norm = "post"  # or pre, with a norm for each stream after the last layer

    config.optimizer.name = "adamw"
    config.optimizer.b1 = 0.5
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 1e-3  # of biases and norms too
    config.optimizer.clip_norm = 1.0  # of all gradients together

    config.schedule.kind = "warmup_cosine"  # set once an epoch
    config.schedule.learning_rate = 3e-4 if plus else 1e-4
    config.schedule.final_learning_rate = 3e-6 if plus else 1e-6
    config.schedule.warmup_epochs = 10

    config.train.epochs = 60
    config.train.batch_size = 64
    config.train.steps_per_call = 32  # ours

    config.eval.video_filter = "global"
    config.eval.select = "segment/type"
    config.eval.ties = "earlier"

    if made_up == "synthetic":
        config.data.dataset = "llp/synthetic"
        # Unlike published: with batches of 64, an epoch of 1,200 videos has only 19 steps.
        config.train.batch_size = 16
        config.train.epochs = 12
        config.schedule.warmup_epochs = 2
    if made_up == "synthetic_videos":
        config.data.dataset = "llp/synthetic_videos"
        config.data.streams = "plain"
        config.extract.fidelity = "direct"
        # Unlike published: with batches of 64, an epoch of 400 videos has only 7 steps.
        config.train.batch_size = 16
        config.train.epochs = 12
        config.schedule.warmup_epochs = 2
    return config
