"""LEAP: events disentangled by the names of classes (Zhou et al., ECCV 2024)."""
