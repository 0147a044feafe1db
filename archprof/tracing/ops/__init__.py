"""What one op costs, and what it returns on tensors without values."""
