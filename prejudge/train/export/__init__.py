"""Trained networks as files: our own, those of other programs, and readable source code."""
