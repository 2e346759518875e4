"""The TFDS builder `llp`, which prepares published files as one row per segment.

    import tfds_llp
    builder = tfds.builder("llp/base", data_dir=...)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=DATA))
    builder.as_data_source("val")[0]

Preparing and reading need no TensorFlow. Videos are in the order of the csv files.
"""

import functools
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from avvp_jax.errors import UserError, cause, first_ten
from tfds_llp.annotations import DENSELY_LABELLED, FILES, describe, read_annotations
from tfds_llp.configs import CONFIGS
from tfds_llp.disk import refuse_unwritable
from tfds_llp.download import download_annotations
from tfds_llp.folder import (
    SOURCES,
    annotations_in,
    data_folder,
    has_pseudo_labels,
    leave_out_incomplete,
    read_features_into,
)
from tfds_llp.info import LocalInfo, description_of
from tfds_llp.made_up import generate_videos
from tfds_llp.own.assembling import assemble
from tfds_llp.sources import differences, folder_in, only_deleted, source_in
from tfds_llp.videos import Videos

_BYTES_PER_SHARD = 64 << 20
_CITATION = """@inproceedings{tian2020avvp,
  title={Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing},
  author={Tian, Yapeng and Li, Dingzeyu and Xu, Chenliang},
  booktitle={European Conference on Computer Vision (ECCV)},
  year={2020}
}"""


# ShardBasedBuilder writes examples in the order in which they are generated. A
# GeneratorBasedBuilder would sort them first. Beyond 1 GB (the training videos have 1.1) it
# sorts in files, with TensorFlow.
class Llp(tfds.core.ShardBasedBuilder):
    """LLP, or another task in its layout, as segment features and labels.

    An example is one video. It has
        id, filename: text, as in the csv;
        csv_row: the video's row in the csv, from 0;
        features: [segments, segment_width] per stream, under its name in avvp_jax.streams, float32,
            or of frames that are kept `frames_dtype`;
        weak_label: uint8 [classes];
        densely_labelled: bool;
        segments: how many the clip has, where clips may have fewer than the task; rows of features
            and labels behind them are zero;
        audio_label, visual_label: uint8 [segments, classes];
        audio_pseudo_label, visual_pseudo_label: uint8 [segments, classes].

    train is not densely labelled: its dense labels are zero, or in synthetic data the hidden
    truth, for inspection only. Pseudo labels are masked by the weak label; they are zero if the
    folder has none.

    `builder.info.metadata` holds
        pseudo_labels: whether there are any;
        masked_pseudo_labels: how many of them the weak label removed, by modality;
        left_out: ids of videos that lack feature files;
        annotated: how many videos the csv files name, by split;
        source: the files that it was prepared from, see sources.py;
        content: a digest of all examples, by split;
        annotations: oddities of the csv files;
        task, widths: the task, and the streams' widths in order;
        frames_dtype: of frames that are kept, where it is not float32.
    Synthetic data has neither `annotated` nor `source`. Older data lacks them too, and `content`,
    or also `task` and `widths`, and then is LLP's with streams as published.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Put the published files into one folder: {SOURCES}. The annotations (AVVP_*.csv, from
    folder data of github.com/YapengTian/AVVP-ECCV20) go beside them, or are downloaded.
    """
    BUILDER_CONFIGS = CONFIGS

    def __init__(self, *, allow_missing_features=False, file_format=None, **kwargs):
        """See tfds.core.DatasetBuilder.

        Args:
            allow_missing_features: leave out videos that lack a feature file instead of
                stopping.
            file_format: as in TFDS, array_record when not given.
            **kwargs: `config`, `data_dir` and `version`, as in TFDS.
        """
        self._allow_missing_features = allow_missing_features
        self._videos: dict[str, Videos] = {}
        super().__init__(file_format=file_format or "array_record", **kwargs)
        # TFDS restores a pickled builder from this.
        self._original_state |= {"allow_missing_features": allow_missing_features}

    def _info(self):
        task = self.builder_config.task
        segments, classes = task.segments, len(task.classes)
        segment_labels = _array((segments, classes), np.uint8)
        features = {
            "id": tfds.features.Text(),
            "filename": tfds.features.Text(),
            "csv_row": tfds.features.Scalar(dtype=np.int32),
            "weak_label": _array((classes,), np.uint8),
            "densely_labelled": tfds.features.Scalar(np.bool_),
            "audio_label": segment_labels,
            "visual_label": segment_labels,
            "audio_pseudo_label": segment_labels,
            "visual_pseudo_label": segment_labels,
        }
        if self.builder_config.any_length:
            features["segments"] = tfds.features.Scalar(dtype=np.int32)
        for stream in self.builder_config.features:
            row = (segments, stream.segment_width(task))
            features[stream.name] = _array(row, np.dtype(stream.dtype).type)
        return LocalInfo(
            builder=self,
            description=description_of(task),
            features=tfds.features.FeaturesDict(features),
            homepage="https://github.com/YapengTian/AVVP-ECCV20",
            citation=_CITATION,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(self, *, download_dir=None, download_config=None, **kwargs):
        """As in TFDS, except that all inputs are read and checked before anything is written.

        Raises:
            UserError: an input is missing or damaged, or `data_dir` cannot be written.
        """
        download_config = download_config or tfds.download.DownloadConfig()
        overwrite = download_config.download_mode.overwrite_dataset
        try:
            if overwrite or not self.data_path.exists():
                self._read_inputs(download_dir, download_config)
            elif download_config.manual_dir:
                self._refuse_other_files(Path(download_config.manual_dir))
            self._write(download_dir=download_dir, download_config=download_config, **kwargs)
        finally:
            self._videos = {}

    def _refuse_other_files(self, manual_dir: Path) -> None:
        """Checks that what is prepared is the folder's, which TFDS does not know."""
        recorded = dict(self.info.metadata.items()).get("source")
        if recorded is None or not manual_dir.exists():
            return
        config = self.builder_config
        now = source_in(folder_in(manual_dir, config), config, self.url_infos)
        changed = differences(recorded, now)
        if changed and not only_deleted(recorded, now, config.features):
            raise UserError(
                f"{self.data_dir}: prepared from other files than {now['folder']} holds "
                f"({first_ten(changed)}); python -m tfds_llp.prepare prepares those beside, or "
                "choose another data_dir"
            )

    def _write(self, **kwargs) -> None:
        with tqdm(
            desc="Writing segments",
            total=sum(len(videos) for videos in self._videos.values()),
            unit=" videos",
            mininterval=1.0,
            disable=not self._videos,
        ) as self._progress:
            try:
                super().download_and_prepare(**kwargs)
            # array_record reports a full disk as RuntimeError.
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"{self.data_dir}: cannot be written ({cause(error)}); make room, or "
                    "choose another data_dir"
                ) from error

    def _read_inputs(self, download_dir, download_config) -> None:
        """Fills `_videos` and the metadata, from published files or with synthetic data."""
        refuse_unwritable(self.data_dir, needed=0)
        if self.builder_config.seed is not None:
            folder, ending = self.data_path.parent, f"_{self.version}"
            self._videos = generate_videos(self.builder_config, os.fspath(folder), ending)
            self._record(pseudo_labels=True, left_out=[], annotations={})
            return
        if self.builder_config.own is not None:
            self._read_own(Path(download_config.manual_dir))
            return
        downloads = Path(download_dir or self.data_dir_root / "downloads")
        folder = data_folder(Path(download_config.manual_dir or downloads / "manual"))
        files = annotations_in(folder)
        if files is None:
            files = download_annotations(FILES, downloads / self.name, self.url_infos)
        config = self.builder_config
        # Taken first: what changes while it is read will be noticed next time.
        source = source_in(folder, config, self.url_infos)
        annotations = read_annotations(files, config.task)
        splits, left_out = leave_out_incomplete(
            folder, annotations.splits, config, self._allow_missing_features
        )
        pseudo_labels = has_pseudo_labels(folder, splits)
        print(describe(annotations.summary))
        if left_out:
            print(f"Leaving out {len(left_out)} videos that lack a feature file.")
        self._videos = {name: Videos.allocate(split, config) for name, split in splits.items()}
        refuse_unwritable(self.data_dir, sum(videos.nbytes for videos in self._videos.values()))
        read_features_into(folder, self._videos, config, pseudo_labels)
        annotated = {name: len(split.ids) for name, split in annotations.splits.items()}
        self._record(
            pseudo_labels=pseudo_labels,
            left_out=left_out,
            annotated=annotated,
            annotations=annotations.summary,
            source=source,
        )

    def _read_own(self, folder: Path) -> None:
        """Fills `_videos` and the metadata from a folder of one's own."""
        config = self.builder_config
        source = source_in(folder, config, self.url_infos)  # first, as above
        made = assemble(config.own.read(folder), config, self._allow_missing_features)
        self._videos = made.videos
        refuse_unwritable(self.data_dir, sum(videos.nbytes for videos in made.videos.values()))
        if made.left_out:
            print(f"Leaving out {len(made.left_out)} clips that lack a feature file.")
        facts = {"annotated": made.annotated, "annotations": {}, "source": source}
        self._record(pseudo_labels=made.pseudo_labels, left_out=made.left_out, **facts)

    def _record(self, **facts) -> None:
        masked = [videos.mask_pseudo_labels() for videos in self._videos.values()]
        total = {name: sum(split[name] for split in masked) for name in masked[0]}
        content = {name: videos.digest() for name, videos in self._videos.items()}
        self.info.metadata.update(
            masked_pseudo_labels=total,
            content=content,
            **facts,
            **self.builder_config.to_metadata(),
        )
        if facts["pseudo_labels"]:
            counts = " and ".join(f"{count} {name}" for name, count in total.items())
            print(f"Pseudo labels removed because the weak label lacks their class: {counts}.")

    def _shard_iterators_per_split(self, dl_manager):
        return {
            split: [
                functools.partial(self._examples, videos, rows, split in DENSELY_LABELLED)
                for rows in _shards(videos)
            ]
            for split, videos in self._videos.items()
        }

    def _examples(
        self, videos: Videos, rows: range, densely_labelled: bool
    ) -> Iterator[tuple[int, dict]]:
        for example in videos.examples(rows, densely_labelled):
            yield example
            self._progress.update()

    # TFDS's own messages before and after show wrong sizes; the progress bars replace them.
    def _log_download_bytes(self):
        pass

    def _log_download_done(self):
        pass


def _array(shape: tuple[int, ...], dtype) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")


def _shards(videos: Videos) -> list[range]:
    """The rows of each shard: consecutive, about `_BYTES_PER_SHARD` of features."""
    shards = math.ceil(videos.nbytes / _BYTES_PER_SHARD)
    bounds = [len(videos) * shard // shards for shard in range(shards + 1)]
    return [range(*rows) for rows in itertools.pairwise(bounds)]
