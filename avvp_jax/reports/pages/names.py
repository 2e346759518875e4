"""Names of videos and classes, as pages show them."""


def visible(name: str) -> str:
    """A name, or what it is written as in Python if nothing of it could be seen."""
    seen = any(sign.isprintable() and not sign.isspace() for sign in name)
    return name if seen else ascii(name)
