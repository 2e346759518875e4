"""Reads examples of prepared data, as TFDS stores them; damage becomes a UserError."""

from collections.abc import Sequence

from avvp_jax.errors import cause, damaged_data, is_temporary, unreadable_now

WAY_OUT = "delete this folder, and it is prepared again"


def read_examples(source, rows: Sequence[int]) -> list[dict]:
    """The examples of some rows of a TFDS data source.

    Raises:
      UserError: the prepared data is damaged, or cannot be read now.
    """
    try:
        return source.__getitems__(list(rows))
    # Records have checksums, checked here; the kind of exception depends on where the damage is.
    except Exception as error:
        folder = source.dataset_info.data_dir
        if is_temporary(error):
            raise unreadable_now(folder, error) from error
        raise damaged_data(folder, cause(error), WAY_OUT) from error
