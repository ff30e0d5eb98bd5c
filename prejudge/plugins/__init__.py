"""Registers of what third parties may add, and the digests of its source."""

from prejudge.plugins.register import Plugin, Register, checked_options, options_of, summary_of
from prejudge.plugins.source import digest_of_file, digest_of_function, meet

__all__ = [
    "Plugin",
    "Register",
    "checked_options",
    "digest_of_file",
    "digest_of_function",
    "meet",
    "options_of",
    "summary_of",
]
