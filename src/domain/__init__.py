"""What is true: aggregates, their events and the policies they decide by. No clock, no I/O, no framework."""
