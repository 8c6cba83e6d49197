"""Apache Kafka itself, for whoever wants to see the tests pass against it."""
