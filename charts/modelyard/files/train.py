"""What helm test trains: nothing. That it ran shows that jobs get their pods, their code and the trainer's image."""

print("the trainer's image runs the code of a ConfigMap")
