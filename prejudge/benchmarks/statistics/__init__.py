"""Statistics of scores against trained accuracies."""
