"""Apache Kafka: what other services tell us, and what we tell them."""
