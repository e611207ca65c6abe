"""Modelyard trainer: starts torchrun in a pod, and is what a training script imports."""
