"""Pipelines: recipes that go from a search to a report in one resumable folder."""
