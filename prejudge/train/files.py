"""Names of the files in the folder of a training."""

WEIGHTS = "weights.safetensors"
"""The trained network that was selected, with its architecture."""

RESULT = "result.json"
"""Figures of the network and of every epoch."""

METADATA = "training.json"
"""Where architecture and recipe come from, the device, multiply-adds and warnings."""

TESTED = "test.json"
"""The test images, class by class."""

SOURCE = "network.py"
"""The network as one file for PyTorch alone, where it is asked for."""
