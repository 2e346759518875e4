"""MA: modality-aware label estimation (Wu and Yang, CVPR 2021)."""
