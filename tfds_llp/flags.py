"""A parser of command lines that reports a mistake in one line."""

import argparse

from avvp_jax.errors import UserError


class OneLineParser(argparse.ArgumentParser):
    """Raises a UserError for a mistake, where argparse would print the usage and exit."""

    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")
