"""Recipes: the numbers of a training, learning-rate schedules, and the recipes that papers published."""
