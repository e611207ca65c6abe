"""The reconcile engine. It knows no kind by name: ``cli`` and ``app`` hand it the kinds."""
