"""The public operations: each validates its arguments, makes the geometry, calls the backend."""
