"""What crosses a process boundary between the operator and the images. Imports pydantic only."""
