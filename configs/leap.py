"""LEAP on LLP: label-anticipated event disentanglement (Zhou et al., ECCV 2024).

  python launch.py --config=configs/leap.py --config.leap.label_embeddings=FILE --workdir=W
  python launch.py --config=configs/leap.py:synthetic --workdir=W         built-in synthetic data
  python launch.py --config=configs/leap.py:synthetic_videos --workdir=W  synthetic video files

A decoder asks for each class by an embedding of its name. FILE is the published
llp_label_glove_embeddings.pt, or GloVe's glove.6B.300d.txt, from which those of any data set's
classes are made. VALOR's teachers' labels of segments (segment_pseudo_labels) are its targets; see
valor.py for how to get them.

Published test scores: Type@AV 64.8, Event@AV 63.6 (segment level), 60.2, 57.4 (event level).

Every value below is the published program's, unless a comment says otherwise; docs/methods.md
has where papers differ. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    _, made_up = common.chosen("leap", variant)
    config = common.experiment("leap", ("leap", "model"))
    config.seed = 1
    config.data.dataset = "llp/base"  # VGGish, ResNet-152, R(2+1)D
    config.data.streams = "base"

    config.leap.label_embeddings = ""  # the published .pt, or a text file of GloVe
    config.leap.made_up_embeddings = False  # ours: random ones where there is no file
    config.leap.similarity = "program"  # or paper: its target, see docs/methods.md

    config.model = ConfigDict()
    config.model.width = 512
    config.model.heads = 8
    config.model.feed_forward = 512
    config.model.levels = 4  # of the pyramid encoder
    config.model.layers = 2  # of the decoder, for each modality
    config.model.label_width = 300  # of the label embeddings
    config.model.dropout = 0.2
    config.model.attention_dropout = 0.1
    common.set_arithmetic(config.model)

    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule.kind = "step"
    config.schedule.learning_rate = 1e-4
    config.schedule.factor = 0.1
    config.schedule.every_epochs = 10

    config.train.epochs = 30
    config.train.batch_size = 32
    config.train.steps_per_call = 16  # ours

    config.eval.video_filter = "union"
    config.eval.select = "segment/type"
    config.eval.ties = "later"

    if made_up:
        config.data.dataset = f"llp/{made_up}"
        config.leap.made_up_embeddings = True
        # Unlike published: 52 million parameters are slow without a GPU, and there are few videos.
        config.model.width = config.model.feed_forward = 128
        config.schedule.learning_rate = 5e-4
        config.train.batch_size = 16
        config.train.epochs = 14
    if made_up == "synthetic_videos":
        config.data.streams = "plain"
        config.extract.fidelity = "direct"
    return config
