"""What one machine can carry, measured beside what the machine could carry at most."""
