"""The vocabulary that all kinds share: models, conditions, references, quantities, pods and the objects they become."""
