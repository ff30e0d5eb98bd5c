"""Evaluation of networks on images that they do not learn from."""
