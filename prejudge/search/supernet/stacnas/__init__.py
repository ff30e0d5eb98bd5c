"""StacNAS: a group of similar operations for every edge, then an operation of that group."""
