"""SDARTS: DARTS whose weights learn with perturbed mixtures."""
