"""The ingestion service of Workbench and its worker."""
