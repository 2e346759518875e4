"""Reads and writes published checkpoints."""
