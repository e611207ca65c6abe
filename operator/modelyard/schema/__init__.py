"""From pydantic models to what an API server and a reader want: CRDs and reference pages. Knows no kind by name."""
