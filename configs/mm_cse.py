"""MM-CSE on LLP: class-aware semantic enhancement (Zhao et al., AAAI 2025).

  python launch.py --config=configs/mm_cse.py --workdir=W                    the program's defaults
  python launch.py --config=configs/mm_cse.py:synthetic --workdir=W          synthetic data
  python launch.py --config=configs/mm_cse.py:synthetic_videos --workdir=W   synthetic video files

Labels of every segment by two teachers (CLAP hears, CLIP sees) come with the published features, or
are made of videos with python -m tfds_llp.extract, as for VALOR. The features are those of VALOR++;
--config.data.dataset=llp/base --config.data.streams=base takes VALOR's.

Published scores are those of the paper, which was not at hand; there are none here.

Every value below is the published program's default, since it has no command for its training,
unless a comment says otherwise; docs/methods.md has what is known. The rest is in common.py.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    _, made_up = common.chosen("mm_cse", variant)
    config = common.experiment("mm_cse", ("mm_cse",))
    config.seed = 87
    config.data.dataset = "llp/clip_clap"  # CLAP, CLIP, R(2+1)D
    config.data.streams = "clip_clap"

    # Weights of the losses beside VALOR's three.
    config.mm_cse.reconstruction = 0.5
    config.mm_cse.orthogonality = 0.1
    config.mm_cse.cooccurrence = 0.1

    config.model = ConfigDict()
    config.model.width = 256  # of a segment's token
    config.model.class_width = 128  # of the features of each class
    config.model.heads = 8
    config.model.feed_forward = 512  # the program's ff_dim=1024 has no effect
    config.model.layers = 4  # start as copies of one
    config.model.dropout = 0.1
    config.model.dtype = "float32"  # or bfloat16: compute only, parameters stay float32
    config.model.precision = "highest"  # of float32 products; or high, fastest

    config.optimizer.name = "adamw"
    config.optimizer.b1 = 0.5
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 1e-3  # of biases and norms too
    config.optimizer.clip_norm = 1.0  # of all gradients together

    config.schedule.kind = "step"  # or warmup_cosine, VALOR's
    config.schedule.learning_rate = 1e-4
    config.schedule.factor = 0.1
    config.schedule.every_epochs = 10
    config.schedule.final_learning_rate = 1e-6  # of warmup_cosine alone, as the next
    config.schedule.warmup_epochs = 5

    config.train.epochs = 60
    config.train.batch_size = 64
    config.train.steps_per_call = 8  # ours

    config.eval.video_filter = "mixed"  # global_prob for audio, visual_prob for visual
    config.eval.select = "segment/type"
    config.eval.ties = "earlier"

    if made_up:
        config.data.dataset = f"llp/{made_up}"
        # Unlike published: so large a network takes some twenty minutes on two cores, and with
        # batches of 64 an epoch of 1,200 or 400 videos has only 19 steps or 7.
        config.model.width, config.model.class_width = 128, 32
        config.model.heads, config.model.feed_forward, config.model.layers = 4, 128, 2
        config.train.batch_size, config.train.steps_per_call = 16, 32
        config.train.epochs = 12
        config.schedule.learning_rate = 3e-4
    if made_up == "synthetic_videos":
        config.data.streams, config.extract.fidelity = "plain", "direct"
    return config
