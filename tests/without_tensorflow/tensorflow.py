"""Stands before TensorFlow on the path of processes that do without it, which start sooner."""

raise ImportError("TensorFlow is left out here")
