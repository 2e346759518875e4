"""Bytes that somebody else made, and bytes that must not be torn."""
