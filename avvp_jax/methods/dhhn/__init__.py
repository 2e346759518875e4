"""DHHN: the dual hierarchical hybrid network (Jiang et al., ACM Multimedia 2022)."""
