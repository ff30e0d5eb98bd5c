"""NATS-Bench's size space: five widths around one fixed cell."""
