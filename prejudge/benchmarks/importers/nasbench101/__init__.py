"""NAS-Bench-101, from the published TFRecord files."""
