"""Pickles of other programs, read without running anything in them.

A pickle is a program for a stack machine, and may have any function called. :mod:`.unpickler` is the one machine here:
it writes down what would have been called. :mod:`.values` makes plain values of that, :mod:`.files` reads whole files,
and :mod:`.entries` reads one entry after the other of a dict that is too large for memory.
"""
