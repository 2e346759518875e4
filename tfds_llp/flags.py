"""Command lines whose mistakes end in one line."""

import argparse

from avvp_jax.errors import UserError


class OneLineParser(argparse.ArgumentParser):
    """Raises a UserError where argparse would print a page and exit."""

    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")
