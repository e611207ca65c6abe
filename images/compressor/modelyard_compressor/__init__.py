"""Modelyard compressor."""
