"""Every method's folder: what it exports, and that its config goes with it."""

import importlib
import pathlib

import pytest

import avvp_jax.methods
from avvp_jax.experiment.schema import COMMON, SECTIONS
from avvp_jax.methods import METHODS, stages_of
from avvp_jax.schema import Field, Overrides


def config_of(name: str):
    """The variant of a config whose method is `name`."""
    module = importlib.import_module(f"configs.{METHODS[name].config}")
    variants = ("", *getattr(module, "VARIANTS", ()))
    return next(c for c in map(module.get_config, variants) if c.method == name)


def test_methods_are_in_the_order_of_their_papers():
    years = [method.year for method in METHODS.values()]
    assert years == sorted(years) and list(METHODS)[:2] == ["han", "ma"]


def test_every_folder_exports_its_methods():
    folders = pathlib.Path(avvp_jax.methods.__file__).parent.glob("*/__init__.py")
    exported = []
    for folder in folders:
        exported += importlib.import_module(f"avvp_jax.methods.{folder.parent.name}.method").METHODS
    assert {id(method) for method in exported} == {id(method) for method in METHODS.values()}
    assert len({method.name for method in exported}) == len(exported)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_goes_with_its_config(name):
    method, config = METHODS[name], config_of(name)
    assert (method.name, method.layout.method) == (name, name)
    assert SECTIONS & set(config) == set(method.schema)
    assert [stage.name for stage in stages_of(config)]
    if method.networks:
        assert set(config.schedule.learning_rate) == set(method.networks)


@pytest.mark.parametrize("name", METHODS)
def test_a_schema_says_what_each_key_of_its_sections_may_be(name):
    config = config_of(name)
    for section, keys in METHODS[name].schema.items():
        if isinstance(keys, Overrides):
            assert set(keys.required) <= set(COMMON)
            continue
        assert set(config[section]) == set(keys)
        assert all(isinstance(field, Field) for field in keys.values())
