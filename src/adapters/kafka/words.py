"""What is in the way of a client, in words."""

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)


def in_words(error: Exception) -> str:
    """What is between us and what we would read, for whoever runs the service."""
    match error:
        case TopicAuthorizationFailedError():
            return "the brokers do not let us read every topic"
        case GroupAuthorizationFailedError():
            return "the brokers do not let us be in the group"
        case ClusterAuthorizationFailedError():
            return "the brokers do not let us in"
        case KafkaConnectionError():
            return "no broker can be reached, or none lets us in"
        case TimeoutError():
            return "the brokers do not answer"
    return f"the brokers refuse it: {type(error).__name__}"
