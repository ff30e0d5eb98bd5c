"""Readers of the published benchmark files, each of which becomes one compact table."""
