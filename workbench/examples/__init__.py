"""Agents to try the workbench on. They import public packages only, as anybody's agent does."""
