"""The torch half of a compression, a script of the ranks: ``python -m modelyard_trainer.tuning``."""
