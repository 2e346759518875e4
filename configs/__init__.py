"""Experiments: a file for each method, whose get_config(VARIANT) gives a ConfigDict."""
