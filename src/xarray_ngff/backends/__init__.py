"""Readers and writers, one folder for each format."""
