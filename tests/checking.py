"""What an annotation means while the tests run."""

from beartype import BeartypeConf, beartype

# An int will do where a float is said, as type checkers have it.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
