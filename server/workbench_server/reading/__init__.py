"""A run's events and messages, streamed page by page."""
