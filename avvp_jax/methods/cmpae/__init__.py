"""CMPAE: evidence of presence and absence across modalities (Gao, Chen and Xu, CVPR 2023)."""
