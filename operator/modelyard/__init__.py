"""Modelyard: from training code to a guarded model service, handed on by digest."""
