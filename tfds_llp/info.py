"""What TFDS records of a data set."""

import tensorflow_datasets as tfds

from avvp_jax.task import LLP, Task


class LocalInfo(tfds.core.DatasetInfo):
    """Info that does not ask TFDS's cloud folder about this data set, which is not there."""

    def initialize_from_bucket(self) -> None:
        """Does nothing. TFDS's own would wait for the network and leave an empty folder."""


def description_of(task: Task) -> str:
    if task == LLP:
        return (
            "Look, Listen, and Parse: audio-visual video parsing, 25 event classes in 11,849 clips "
            "of ten seconds, as one feature row per segment."
        )
    return (
        f"{task.name}: audio-visual video parsing, {len(task.classes)} event classes in clips of "
        f"{task.duration} seconds, as one feature row per segment."
    )
