"""Network parts, all flax.nnx modules, and a network as a pure function."""
