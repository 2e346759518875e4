"""DHHN on LLP: dual hierarchical hybrid network (Jiang et al., ACM Multimedia 2022).

  python launch.py --config=configs/dhhn.py --workdir=W                  refinement, as published
  python launch.py --config=configs/dhhn.py:origin --workdir=W           on weak labels alone
  python launch.py --config=configs/dhhn.py:origin,synthetic --workdir=W on built-in synthetic data

A hierarchical parser (HCMN) and two networks of one modality train together. Refinement
trains them on what MA leaves of the labels: MA's first two stages come before, or
--config.dhhn.removed_labels=FILE names their result, MA's published need_to_change.pkl or
somebody's removed_labels.npz.

Published test scores (segment level): audio 61.4, visual 63.4, audio-visual 56.8,
Type@AV 60.5, Event@AV 59.5. Every value below is the published program's, unless a
comment says otherwise.
"""

from ml_collections import ConfigDict

VARIANTS = ("refinement", "origin")


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    asked = [name for name in variant.split(",") if name]
    synthetic = "synthetic" in asked
    which = [name for name in asked if name != "synthetic"] or ["refinement"]
    if len(which) > 1 or which[0] not in VARIANTS:
        raise ValueError(
            f"configs/dhhn.py has no variant {variant!r}; known: {', '.join(VARIANTS)}, each also "
            "with ,synthetic"
        )
    origin = which[0] == "origin"
    config = ConfigDict()
    config.method = "dhhn"
    config.seed = 1
    config.num_seeds = 1  # ours: independent runs at once, with this seed and the ones after it
    config.seeds_at_once = 0  # ours: that share the device's memory; 0 chooses
    config.pick_seed = (
        -1
    )  # ours: whose model to look at, export and predict with; -1 is the best on val
    config.stages = ()  # some of the method's stages; empty runs all

    config.data = ConfigDict()
    config.data.dataset = "llp/base"  # VGGish, ResNet-152, R(2+1)D
    config.data.streams = "base"
    config.data.data_dir = "~/tensorflow_datasets"  # ours: prepared data lives here
    config.data.manual_dir = ""  # ours: the published files; empty is DATA_DIR/downloads/manual
    config.data.allow_missing_features = False
    config.data.synthetic_seed = 0  # of the llp/synthetic generator
    config.data.features_only = ""  # --mode=predict: a feature folder without annotations
    # ours: device holds all features, stream reads from disk; no effect on results
    config.data.feed = "auto"

    config.dhhn = ConfigDict()
    config.dhhn.mode = which[0]
    config.dhhn.removed_labels = ""  # a .npz or MA's published .pkl: skips MA's stages
    config.dhhn.estimation_seed = 2
    config.dhhn.edit_video_target = True  # as MA's program

    config.model = ConfigDict()  # HCMN, whose encoder serves all three time scales
    config.model.width = 512  # of all three networks
    config.model.heads = 1
    config.model.feed_forward = 512
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.0
    config.model.order = "parallel"  # of the two streams' updates
    config.model.norm = "post"
    config.model.cross_attention = True
    config.model.dtype = "float32"  # or bfloat16: compute only, parameters stay float32

    config.audio_net = ConfigDict()  # x + encoder(x), `repeats` times with the same weights
    config.audio_net.heads = 8
    config.audio_net.feed_forward = 512
    config.audio_net.dropout = 0.1
    config.audio_net.layers = 1
    config.audio_net.repeats = 4

    config.video_net = ConfigDict()
    config.video_net.heads = 8
    config.video_net.feed_forward = 512
    config.video_net.dropout = 0.1
    config.video_net.layers = 2
    config.video_net.repeats = 3

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule = ConfigDict()
    config.schedule.kind = "step"
    config.schedule.learning_rate = ConfigDict()
    config.schedule.learning_rate.hcmn = 3e-4
    config.schedule.learning_rate.audio_net = 6e-4 if origin else 3e-4
    config.schedule.learning_rate.video_net = 6e-5 if origin else 3e-4
    config.schedule.factor = 0.1
    config.schedule.every_epochs = 10

    config.mesh = ConfigDict()  # ours; no effect beyond rounding
    config.mesh.devices = 0  # how many to use; 0 is all
    config.mesh.seeds = 0  # over how many of them seeds are shared out; 0 is as many as divide both

    config.train = ConfigDict()
    config.train.epochs = 10 if origin else 5
    config.train.batch_size = 64
    config.train.shuffle = True
    config.train.generator = "threefry2x32"  # ours: or rbg, whose bits differ for seeds at once
    config.train.steps_per_call = 16  # ours: steps in one compiled call; no effect on results
    config.train.save_seconds = 60.0  # ours: between checkpoints, if epochs are shorter

    config.eval = ConfigDict()
    config.eval.splits = ("val", "test")
    config.eval.video_filter = "per_modality"
    config.eval.select = ("mean/audio", "mean/visual")  # pick the two parts' epochs
    config.eval.ties = "earlier"  # of epochs with equal scores
    config.eval.batch_size = 64  # ours: no effect beyond rounding
    config.eval.plots = 0  # timelines to draw for each split
    config.eval.stage = ""  # the stage whose model is evaluated; empty is the method's last

    config.init_from = ""  # a work directory, or X of published X_audio.pt and X_video.pt
    config.export_to = ""  # --mode=export: likewise

    # MA's base training: what differs in it from the values above, which it shares otherwise.
    config.base = ConfigDict()
    config.base.schedule = ConfigDict({"learning_rate": 3e-4})
    config.base.train = ConfigDict({"epochs": 12, "batch_size": 16, "steps_per_call": 64})
    config.base.eval = ConfigDict({"select": "last", "ties": "later"})

    if synthetic:
        config.data.dataset = "llp/synthetic"
        # Unlike published: 1,200 training videos make 19 steps of 64, too few.
        config.train.batch_size = 16
        config.train.epochs = 10
        config.base.train.epochs = 10
    return config
