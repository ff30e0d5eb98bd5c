"""Objectives: what a search maximizes, and what asking costs."""
