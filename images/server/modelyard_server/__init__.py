"""Modelyard server."""
