"""A data set as arrays: its splits, and their features in memory or on disk."""
