"""Safe reading of files of unknown origin, atomic writing, and locks."""
