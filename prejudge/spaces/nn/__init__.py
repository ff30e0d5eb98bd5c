"""Layers and mixed operations that the networks of several spaces share."""
