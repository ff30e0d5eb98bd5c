"""Recipes: the numbers of a training, and those that papers published."""
