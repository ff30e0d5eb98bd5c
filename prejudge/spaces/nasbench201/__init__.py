"""NAS-Bench-201: cells, network and supernet."""
