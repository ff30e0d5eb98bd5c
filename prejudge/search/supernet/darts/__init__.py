"""DARTS, first and second order, and its blank control without architecture updates."""
