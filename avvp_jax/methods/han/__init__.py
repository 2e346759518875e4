"""HAN: the hybrid attention network with MMIL pooling (Tian, Li and Xu, ECCV 2020)."""
