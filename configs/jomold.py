"""JoMoLD on LLP: joint-modal label denoising (Cheng et al., ECCV 2022).

  python launch.py --config=configs/jomold.py --workdir=W               LLP, as published
  python launch.py --config=configs/jomold.py:synthetic --workdir=W     built-in synthetic data

Three stages: a noise estimator without cross-modal attention, the noise ratios that
it gives, and denoised training. --config.jomold.noise_ratios=FILE starts the last
one from a published noise_ratios.npz.

Published test scores (segment level): audio 61.3, visual 63.8, audio-visual 57.2,
Type@AV 60.8, Event@AV 59.9. Every value below is the published program's, unless a
comment says otherwise.
"""

from ml_collections import ConfigDict

VARIANTS = ("", "synthetic")


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `variant` is what follows the colon on the command line."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/jomold.py has no variant {variant!r}; known: synthetic")
    config = ConfigDict()
    config.method = "jomold"
    config.seed = 6
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

    config.jomold = ConfigDict()
    config.jomold.noise_ratios = ""  # a noise_ratios.npz: skips the first two stages
    config.jomold.audio_threshold = 0.6
    config.jomold.visual_threshold = 1.8
    config.jomold.warmup = "published"  # "linear" is what the paper describes

    config.model = ConfigDict()
    config.model.width = 512
    config.model.heads = 1
    config.model.feed_forward = 512
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.visual_dropout = 0.5
    config.model.order = "parallel"  # of the two streams' updates
    config.model.norm = "post"
    config.model.cross_attention = True
    config.model.dtype = "float32"  # or bfloat16: compute only, parameters stay float32

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8

    config.schedule = ConfigDict()
    config.schedule.kind = "step"
    config.schedule.learning_rate = 5e-4
    config.schedule.factor = 0.25
    config.schedule.every_epochs = 6

    config.mesh = ConfigDict()  # ours; no effect beyond rounding
    config.mesh.devices = 0  # how many to use; 0 is all
    config.mesh.seeds = 0  # over how many of them seeds are shared out; 0 is as many as divide both

    config.train = ConfigDict()
    config.train.epochs = 25  # of each training
    config.train.batch_size = 128
    config.train.shuffle = True
    config.train.generator = "threefry2x32"  # ours: or rbg, whose bits differ for seeds at once
    config.train.steps_per_call = 16  # ours: steps in one compiled call; no effect on results
    config.train.save_seconds = 60.0  # ours: between checkpoints, if epochs are shorter

    config.eval = ConfigDict()
    config.eval.splits = ("val", "test")
    config.eval.video_filter = "per_modality"
    config.eval.select = "event/audio"  # the val score that picks the epoch
    config.eval.ties = "later"  # of epochs with equal scores
    config.eval.batch_size = 64  # ours: no effect beyond rounding
    config.eval.plots = 0  # timelines to draw for each split
    config.eval.stage = ""  # the stage whose model is evaluated; empty is the method's last

    config.init_from = ""  # a work directory or a published .pt
    config.export_to = ""  # --mode=export: the .pt to write

    if variant == "synthetic":
        config.data.dataset = "llp/synthetic"
        # Unlike published: 1,200 training videos make 10 steps of 128, too few.
        config.train.batch_size = 16
        config.train.epochs = 12
    return config
