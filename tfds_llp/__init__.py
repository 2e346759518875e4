"""LLP for TensorFlow Datasets: `import tfds_llp` registers the builder `llp`."""

from tfds_llp.llp import Llp, LlpConfig, synthetic_config

__all__ = ["Llp", "LlpConfig", "synthetic_config"]
