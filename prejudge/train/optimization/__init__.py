"""Optimizers and the step of a network's weights."""
