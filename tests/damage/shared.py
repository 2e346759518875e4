"""What damaged copies are made of: nine videos, and a HAN that they trained."""

import pathlib

import jax
import numpy as np
import torch

from avvp_jax.experiment.records import recall
from avvp_jax.experiment.weights import read_weights
from avvp_jax.interchange.state_dicts import to_published
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.streams import data_spec
from tests.damage.place import Place, mistake
from tests.tfds_llp import published_folder


def make_shared(root: pathlib.Path) -> pathlib.Path:
    """Fills a folder: DATA (as published), tfds (prepared), trained (a work directory), han.pt."""
    published_folder.write_published(root / "DATA", pseudo_labels=True)
    place = Place(root, root)
    place.workdir.rename(root / "trained")
    place.workdir = root / "trained"
    whole = place.train(f"--config.data.manual_dir={root}/DATA", "--config.eval.splits=val")
    assert mistake(whole) is None
    config = recall(str(place.workdir))
    network = stages_of(config)[0].result_network(config, data_spec(config.data.streams))
    variables = jax.device_get(read_weights(str(place.workdir), network, config).variables)
    state = to_published(variables, METHODS["han"].layout, {})
    write_published({str(root / "han.pt"): PublishedFile(state)})
    return root


def tensors(place: Place) -> dict[str, torch.Tensor]:
    """The state_dict of han.pt."""
    return torch.load(place.shared / "han.pt", weights_only=True)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
