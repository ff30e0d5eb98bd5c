"""NAS-Bench-101: cells, enumeration and network."""
