"""LLP for TensorFlow Datasets: `import tfds_llp` registers the builder `llp`."""

from tfds_llp.configs import LlpConfig, synthetic_config
from tfds_llp.llp import Llp

__all__ = ["Llp", "LlpConfig", "synthetic_config"]
