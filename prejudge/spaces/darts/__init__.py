"""The DARTS space and RobustDARTS's S1 to S4: genotypes, networks and supernets."""
