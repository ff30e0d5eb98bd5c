"""NAS-Bench-201 and NATS-Bench's topology space, from the published files."""
