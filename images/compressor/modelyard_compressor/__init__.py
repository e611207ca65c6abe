"""Compress a published model, measure what that costs and gains, and publish it only if its gates hold."""
