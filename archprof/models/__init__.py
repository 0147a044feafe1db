"""The built-in definitions, a file a family; `registry` knows their names without importing torch."""
