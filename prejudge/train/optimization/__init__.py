"""Optimizers, learning-rate schedules and the step of a network's weights."""
