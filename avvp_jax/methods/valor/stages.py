"""VALOR, VALOR+ and VALOR++: teachers of one modality label every segment.

Lai, Chen and Wang, "Modality-Independent Teachers Meet Weakly-Supervised
Audio-Visual Event Parser", NeurIPS 2023. The three differ only in their configs.

  teachers   score the teachers' labels on the densely annotated splits
  train      train on the weak labels and on the teachers' labels
"""

from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict

from avvp_jax.methods.taught import (
    require_pseudo_labels,
    taught_arrays,
    taught_losses,
    teachers_of_training,
)
from avvp_jax.methods.valor.elaboration import teachers_table
from avvp_jax.nn.parser import Parser
from avvp_jax.reports.class_tables import beside
from avvp_jax.reports.tables import dense_note
from avvp_jax.reports.writers import Writer
from avvp_jax.storage.writing import write_lines
from avvp_jax.training.artefacts import Report
from avvp_jax.training.run import Run, Stage
from avvp_jax.training.stages import Training
from avvp_jax.training.step import LossAndParts


def loss(parser: Parser, batch: dict, key: PRNGKeyArray) -> LossAndParts:
    """The loss of global_prob on weak labels, and of each modality's segments on its teacher's."""
    output = parser(batch["features"], key, lengths=batch.get("lengths"))
    parts = taught_losses(output, batch)
    return sum(parts.values()), parts


def stages(config: ConfigDict) -> list[Stage]:
    """The report on the teachers' labels, and training."""
    return [
        Report("teachers", "quality.txt", write_quality),
        Training("train", loss, taught_arrays, demands=teachers_of_training),
    ]


NO_TRUTH = "No split has dense annotations: there is nothing to score the teachers' labels with."


def write_quality(run: Run, path: str, writer: Writer) -> None:
    """Stage 1: writes the scores of the teachers' labels on the densely annotated videos."""
    splits = [run.data.split(name) for name in run.data.held_out]
    labels = {}
    for split in splits:
        require_pseudo_labels(run, split)
        if split.truth is not None:
            rows = split.dense_rows
            labels[split.name] = split.pseudo_label[rows], split.truth[rows]
    report = NO_TRUTH
    if labels:
        table = teachers_table(run.spec.task.classes, labels)
        table.write(beside(path))
        report = table.text()
    notes = [dense_note(split.name, split.dense_videos, len(split)) for split in splits]
    report = "\n".join([report, *filter(None, notes)] if labels else [report])
    write_lines(path, [report])
    writer.write_texts(0, {"teachers/quality": report})
    print(report, flush=True)
