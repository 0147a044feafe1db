"""The built-in definitions, a file per family; `registry` knows their names without importing torch."""
