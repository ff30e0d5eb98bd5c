"""File formats: how files are read and written safely."""
