"""Experiments: one file for each method, with a function get_config(VARIANT) -> ConfigDict."""
