"""A run's events and messages, streamed block by block."""
