"""timm's models as a space: their names are the architectures."""
