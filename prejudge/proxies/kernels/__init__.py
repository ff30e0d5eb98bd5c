"""Kernels of the passes: per-sample gradients, cheap double backward, and linear algebra of Gram matrices."""
