"""ISTA-NAS, one-stage and two-stage."""
