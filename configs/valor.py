"""VALOR, VALOR+ and VALOR++ on LLP (Lai, Chen and Wang, NeurIPS 2023).

  python launch.py --config=configs/valor.py --workdir=W                  VALOR, as published
  python launch.py --config=configs/valor.py:plus --workdir=W             VALOR+
  python launch.py --config=configs/valor.py:plus_plus --workdir=W        VALOR++
  python launch.py --config=configs/valor.py:plus,synthetic --workdir=W   on built-in synthetic data

Teachers, CLAP and CLIP, label every segment of the training videos: get their labels
(segment_pseudo_labels) with the published features, or make them with
python -m tfds_llp.elaborate. VALOR and VALOR+ read the base features, VALOR++ those of
CLAP and CLIP.

Published test scores (segment level, audio, visual, audio-visual, Type@AV, Event@AV):
VALOR 61.8 65.9 58.4 62.0 61.5, VALOR+ 62.8 66.7 60.0 63.2 62.3, VALOR++ 68.1 68.4 61.9
66.2 66.8. Every value below is the published program's, unless a comment says otherwise.
"""

from ml_collections import ConfigDict

VARIANTS = ("valor", "plus", "plus_plus")


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    asked = [name for name in variant.split(",") if name]
    synthetic = "synthetic" in asked
    which = [name for name in asked if name != "synthetic"] or ["valor"]
    if len(which) > 1 or which[0] not in VARIANTS:
        raise ValueError(
            f"configs/valor.py has no variant {variant!r}; known: {', '.join(VARIANTS)}, each also "
            "with ,synthetic"
        )
    plus, plus_plus = which[0] != "valor", which[0] == "plus_plus"
    config = ConfigDict()
    config.method = f"valor_{which[0]}" if plus else "valor"
    config.seed = {"valor": 1000, "plus": 64, "plus_plus": 87}[which[0]]
    config.num_seeds = 1  # ours: independent runs at once, with this seed and the ones after it
    config.seeds_at_once = 0  # ours: that share the device's memory; 0 chooses
    config.pick_seed = (
        -1
    )  # ours: whose model to look at, export and predict with; -1 is the best on val
    config.stages = ()  # some of the method's stages; empty runs all

    config.data = ConfigDict()
    # VGGish and ResNet-152, or CLAP and CLIP; R(2+1)D with both.
    config.data.dataset = "llp/clip_clap" if plus_plus else "llp/base"
    config.data.streams = "clip_clap" if plus_plus else "base"
    config.data.data_dir = "~/tensorflow_datasets"  # ours: prepared data lives here
    config.data.manual_dir = ""  # ours: the published files; empty is DATA_DIR/downloads/manual
    config.data.allow_missing_features = False
    config.data.synthetic_seed = 0  # of the llp/synthetic generator
    config.data.features_only = ""  # --mode=predict: a feature folder without annotations
    # ours: device holds all features, stream reads from disk; no effect on results
    config.data.feed = "auto"

    config.model = ConfigDict()
    config.model.width = 256 if plus else 512
    config.model.heads = 8
    config.model.feed_forward = 1024
    config.model.layers = 4 if plus else 1  # copies of one at the start
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.0
    config.model.order = "sequential"  # the visual update sees the updated audio
    config.model.norm = "post"  # or pre, with a norm for each stream after the last layer
    config.model.cross_attention = True
    config.model.dtype = "float32"  # or bfloat16: compute only, parameters stay float32

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.b1 = 0.5
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 1e-3  # of biases and norms too
    config.optimizer.clip_norm = 1.0  # of all gradients together

    config.schedule = ConfigDict()
    config.schedule.kind = "warmup_cosine"  # set once an epoch
    config.schedule.learning_rate = 3e-4 if plus else 1e-4
    config.schedule.final_learning_rate = 3e-6 if plus else 1e-6
    config.schedule.warmup_epochs = 10

    config.mesh = ConfigDict()  # ours; no effect beyond rounding
    config.mesh.devices = 0  # how many to use; 0 is all
    config.mesh.seeds = 0  # over how many of them seeds are shared out; 0 is as many as divide both

    config.train = ConfigDict()
    config.train.epochs = 60
    config.train.batch_size = 64
    config.train.shuffle = True
    config.train.generator = "threefry2x32"  # ours: or rbg, whose bits differ for seeds at once
    config.train.steps_per_call = 32  # ours: steps in one compiled call; no effect on results
    config.train.save_seconds = 60.0  # ours: between checkpoints, if epochs are shorter

    config.eval = ConfigDict()
    config.eval.splits = ("val", "test")
    config.eval.video_filter = "global"
    config.eval.select = "segment/type"  # the val score that picks the epoch
    config.eval.ties = "earlier"  # of epochs with equal scores
    config.eval.batch_size = 64  # ours: no effect beyond rounding
    config.eval.plots = 0  # timelines to draw for each split
    config.eval.stage = ""  # the stage whose model is evaluated; empty is the method's last

    config.init_from = ""  # a work directory or a published .pt
    config.export_to = ""  # --mode=export: the .pt to write

    if synthetic:
        config.data.dataset = "llp/synthetic"
        # Unlike published: 1,200 training videos make 19 steps of 64, too few.
        config.train.batch_size = 16
        config.train.epochs = 12
        config.schedule.warmup_epochs = 2
    return config
