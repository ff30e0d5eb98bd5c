"""Passes over an untrained network: what proxies read, computed at most once."""
