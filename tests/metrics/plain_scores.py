"""The scores in plain Python loops: any number of videos, segments and classes."""

import numpy as np

from avvp_jax.metrics.scores import PER_VIDEO_NAMES


def predicted(probs, video_filter):
    """The segments whose own and whose video's probability reach 0.5, one after the other."""
    active = np.zeros(probs["frame_prob"].shape, bool)
    for video, segment, modality, label in np.ndindex(active.shape):
        own = ("audio", "visual")[modality]
        names = {
            "global": ["global"],
            "per_modality": [own],
            "union": ["audio", "visual"],
            "mixed": [("global", "visual")[modality]],
        }[video_filter]
        of_video = max(probs[f"{name}_prob"][video, label] for name in names)
        own_prob = probs["frame_prob"][video, segment, modality, label]
        active[video, segment, modality, label] = min(own_prob, of_video) >= 0.5
    return active


def ten(pred, true):
    """The ten scores in percent by name; bool [videos, segments, 2, classes] each."""
    return ten_of([per_video(*video)[0] for video in zip(pred, true, strict=True)])


def events(active):
    """Every maximal run as the set of its positions."""
    found = []
    for position, value in enumerate(active):
        if value and position and active[position - 1]:
            found[-1].add(position)
        elif value:
            found.append({position})
    return found


def counts(pred, true, level):
    """TP, FP, FN of one class of one video; events compared pair by pair."""
    if level == "segment":
        pairs = list(zip(pred, true, strict=True))
        return tuple(pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1)))
    pred, true = events(pred), events(true)

    def unmatched(some, others):
        return [e for e in some if not any(2 * len(e & o) >= len(e | o) for o in others)]

    fp, fn = len(unmatched(pred, true)), len(unmatched(true, pred))
    return len(pred) - fp, fp, fn


def per_video(pred, true):
    """One video's eight F-scores, and its counts, from nested loops."""
    classes, out, all_counts = pred.shape[-1], [], []
    for level in ("segment", "event"):
        streams = []
        for stream in ((0,), (1,), (0, 1), "both"):
            by_class = []
            for c in range(classes):
                if stream == "both":
                    sides = [(x[:, 0, c] & x[:, 1, c]).tolist() for x in (pred, true)]
                    by_class.append(counts(*sides, level))
                else:
                    parts = [
                        counts(pred[:, m, c].tolist(), true[:, m, c].tolist(), level)
                        for m in stream
                    ]
                    by_class.append(tuple(map(sum, zip(*parts, strict=True))))
            streams.append(by_class)
            fs = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn in by_class if tp + fp + fn]
            out.append(sum(fs) / len(fs) if fs else 1.0)
        all_counts.append(streams)
    return out, all_counts


def ten_of(videos):
    """The ten scores in percent from each video's eight F-scores."""
    ten = {}
    for level in ("segment", "event"):
        mean = {
            name: 100 * sum(video[i] for video in videos) / len(videos)
            for i, name in enumerate(PER_VIDEO_NAMES)
        }
        audio, visual, both = (mean[f"{level}/{s}"] for s in ("audio", "visual", "audio_visual"))
        ten |= {f"{level}/audio": audio, f"{level}/visual": visual, f"{level}/audio_visual": both}
        ten[f"{level}/type"] = (audio + visual + both) / 3
        ten[f"{level}/event"] = mean[f"{level}/event"]
    return ten


def of_videos(probs, label):
    """The six scores of whole videos and each class's, from loops; None where nothing counts.

    Average precision by its definition: for every distinct probability, from the highest, the
    precision of what reaches it times what it adds to the recall.
    """
    videos, classes = label.shape
    whole = probs.get("global_prob")
    if whole is None:
        whole = [
            [max(probs["audio_prob"][v, c], probs["visual_prob"][v, c]) for c in range(classes)]
            for v in range(videos)
        ]
    means, each = {}, {}
    for start, prob in (("", whole), *((f"{m}_", probs[f"{m}_prob"]) for m in ("audio", "visual"))):
        fs, aps = [], []
        for c in range(classes):
            column = [float(prob[v][c]) for v in range(videos)]
            true = [bool(label[v, c]) for v in range(videos)]
            fs.append(f_of(column, true) if any(true) else None)
            aps.append(ap_of(column, true) if any(true) else None)
        for name, values in ((f"video/{start}f", fs), (f"video/{start}ap", aps)):
            there = [x for x in values if x is not None]
            each[name] = values
            means[name] = sum(there) / len(there) if there else None
    return means, each


def f_of(column, true):
    found = [x >= 0.5 for x in column]
    tp = sum(a and b for a, b in zip(found, true, strict=True))
    fp = sum(a and not b for a, b in zip(found, true, strict=True))
    fn = sum(b and not a for a, b in zip(found, true, strict=True))
    return 100 * 2 * tp / (2 * tp + fp + fn)


def ap_of(column, true):
    ap, before = 0.0, 0.0
    for threshold in sorted(set(column), reverse=True):
        reached = [t for x, t in zip(column, true, strict=True) if x >= threshold]
        recall = sum(reached) / sum(true)
        ap += (recall - before) * sum(reached) / len(reached)
        before = recall
    return 100 * ap
