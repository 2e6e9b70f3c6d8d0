"""Searches say what the views say."""
