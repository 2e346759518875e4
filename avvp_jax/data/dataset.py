"""The prepared data set of a run; each split is read once."""

from ml_collections import ConfigDict

from avvp_jax.data.prepared import open_dataset, spec_of, stays_on_disk
from avvp_jax.data.splits import Split, load_split
from avvp_jax.encoders.making import Making
from avvp_jax.runtime.agreement import refuse_differences
from avvp_jax.streams import DataSpec


class Dataset:
    """The prepared data set of `config.data`; prepared now if it is not there yet.

    Attributes:
      folder: its path.
      names: names of its splits, train first.
      spec: its task and streams, which networks must fit.
      origin: what is recorded of its `content` (a digest of each split) and its `source` (the
        files that it was prepared from); of older data, nothing.

    Raises:
      UserError: it cannot be prepared, or the prepared data is damaged.
    """

    def __init__(self, config: ConfigDict, content: object = None, making: Making | None = None):
        """See open_dataset."""
        self._builder, self._splits = open_dataset(config, content, making), {}
        self._stored = stays_on_disk(config, self._builder)
        self.folder = str(self._builder.data_dir)
        self.names = tuple(self._builder.info.splits)
        self.spec: DataSpec = spec_of(self._builder, config.streams)
        known = dict(self._builder.info.metadata.items())
        self.origin = {name: known[name] for name in ("content", "source") if name in known}
        refuse_differences({"the content of the prepared data": self.origin.get("content")})

    @property
    def train(self) -> Split:
        return self.split("train")

    @property
    def val(self) -> Split:
        return self.split("val")

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of the splits that models are selected and scored on: all but train."""
        return tuple(name for name in self.names if name != "train")

    def split(self, name: str) -> Split:
        """A split, with its features in memory or on disk; checked to be equal in all processes.

        Raises:
          UserError: there is no such split, it is damaged, or it differs between processes.
        """
        if name not in self._splits:
            split = load_split(self._builder, name, self.spec, stored=self._stored)
            refuse_differences({f"the data set's split {name}": split.ids})
            self._splits[name] = split
        return self._splits[name]
