"""How an operator shows what it does: metrics and logs."""
