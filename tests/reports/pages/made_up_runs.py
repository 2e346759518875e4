"""Work directories with made-up results, for pages that show them."""

import json

import numpy as np

from avvp_jax.data.features import ResidentFeatures
from avvp_jax.data.splits import Split
from avvp_jax.metrics.scores import scores
from avvp_jax.metrics.video_scores import video_scores, whole_probabilities
from avvp_jax.reports.parsed_files import write_parsed
from avvp_jax.streams import data_spec
from avvp_jax.task import MODALITIES, Task

CLASSES = ("Speech", "<img src=x onerror=\"document.title='run'\">", "\u202eרעש", "n" * 150, "a\tb")
TASK = Task("made up", CLASSES, 8, 0.96)
VIDEOS = 40


def a_split(dense=VIDEOS, task=TASK, videos=VIDEOS):
    """Annotated videos of unequal lengths; the names of some are hostile."""
    rng = np.random.default_rng(0)
    shape = (videos, task.segments, 2, len(task.classes))
    lengths = rng.integers(3, task.segments + 1, videos)
    there = (np.arange(task.segments) < lengths[:, None])[..., None, None]
    active = (rng.random((videos, 1, 2, len(task.classes))) < 0.4) & (rng.random(shape) < 0.7)
    truth = (active & there).astype(np.uint8)
    names = [f"video{row}_0_8" for row in range(videos)]
    names[:3] = ["</script><b>x", "\u202e" + "שלום" * 10, "v" * 200]
    return Split(
        name="test",
        ids=names,
        filenames=names,
        spec=data_spec("base", task),
        features=ResidentFeatures({}),
        weak_label=truth.any(axis=(1, 2)).astype(np.float32),
        truth=truth if dense else None,
        dense=np.arange(videos) < dense if 0 < dense < videos else None,
        lengths=lengths,
    )


def write_run(folder, split, noise, seeds=3, method="han", parsed=True):
    """A work directory with the scores of several seeds; larger noise makes more mistakes."""
    folder.mkdir(parents=True)
    results = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, int(1000 * noise)])
        truth = np.zeros((len(split), 8, 2, len(split.task.classes)), bool)
        truth = truth if split.truth is None else split.truth > 0
        there = (np.arange(8) < split.lengths[:, None])[..., None, None]
        segments = truth ^ ((rng.random(truth.shape) < noise) & there)
        label = split.weak_label > 0
        wrong = rng.random(label.shape) < noise
        prob = np.where(label ^ wrong, 0.9, 0.1).astype(np.float32)
        probs = {f"{name}_prob": prob for name in ("global", *MODALITIES)}
        rows = split.dense_rows
        ten = {} if split.truth is None else scores(segments[rows], truth[rows])
        whole = video_scores(whole_probabilities(probs), split.weak_label)
        results.append(ten | whole | {"seed": seed, "epoch": 1})
        if parsed and not seed:
            write_parsed(str(folder), split, probs, segments)
    facts = {"method": method, "stage": "train", "dataset": "llp/mine", "videos": len(split)}
    facts |= {"annotated": len(split), "dense": split.dense_videos, "truth": split.truth_digest}
    record = facts | ({"seeds": results} if seeds > 1 else results[0])
    (folder / "scores_test.json").write_text(json.dumps(record))
    return str(folder)
