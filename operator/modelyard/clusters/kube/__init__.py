"""The cluster interface on a Kubernetes API."""
