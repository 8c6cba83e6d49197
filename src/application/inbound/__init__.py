"""What other services tell by Kafka, and what becomes of it."""
