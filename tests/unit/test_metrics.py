"""What is counted has names that tenants cannot make up without end."""

from application.projections.metrics import BUCKETS, MetricTotal, labelled
from entrypoints.http.operations import _counted


def total(channel: str, name: str, fact: str, seconds: float = 0.0) -> MetricTotal:
    buckets = [0] * len(BUCKETS) + [1]
    return MetricTotal(channel=channel, template=name, fact=fact, count=1, seconds=seconds, buckets=buckets)


def test_what_tenants_made_up_is_added_up_under_one_name() -> None:
    counted = labelled(
        [
            total("email", "welcome", "sent"),
            total("email", "spring-sale", "sent", 2.0),
            total("email", "my-own", "sent", 3.0),
            total("webhook", "order.created", "sent"),
            total("webhook", "x.y", "sent"),
            total("webhook", "x.z", "sent"),
        ],
        {"order.created"},
    )
    counts = {(each.channel, each.template): (each.count, each.seconds, each.buckets[-1]) for each in counted}
    assert counts == {
        ("email", "welcome"): (1, 0.0, 1),
        ("email", "other"): (2, 5.0, 2),
        ("webhook", "order.created"): (1, 0.0, 1),
        ("webhook", "other"): (2, 0.0, 2),
    }


def test_one_name_on_two_channels_is_one_series_of_retries() -> None:
    (retries,) = (
        m
        for m in _counted([total(c, "other", "retried") for c in ("email", "webhook")])
        if m.name == "notification_retry"
    )
    assert [(sample.labels, sample.value) for sample in retries.samples] == [({"type": "other"}, 2)]
