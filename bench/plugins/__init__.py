"""The contract of tasks, methods and metrics, and the registry that finds them by name."""
