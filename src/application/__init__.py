"""What may be asked: commands, queries, projections and processes, and the ports they speak through. No technology."""
