"""What is said to the broker: verified, with limits of time, and a login that is wrong is told."""

import re

import pytest

from tracker.queueing import broker
from tracker.queueing.broker import RefusedByBroker


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("redis://h/0", "redis://h/0"),
        ("rediss://h/0", "rediss://h/0?ssl_cert_reqs=required"),
        (
            "rediss://h/0?ssl_ca_certs=/ca.crt",
            "rediss://h/0?ssl_ca_certs=/ca.crt&ssl_cert_reqs=required",
        ),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        (
            "rediss://a/0;rediss://b/0",
            "rediss://a/0?ssl_cert_reqs=required;rediss://b/0?ssl_cert_reqs=required",
        ),
        ("amqps://h/v", "amqps://h/v"),
    ],
)
def test_certificates_are_checked_unless_a_person_says_otherwise(given: str, used: str) -> None:
    assert broker.celery_app(given).conf.broker_url == used


@pytest.mark.parametrize(
    ("url", "limit"), [("redis://h/0", "socket_timeout"), ("amqp://h/v", "read_timeout")]
)
def test_a_broker_that_never_answers_is_not_waited_for(url: str, limit: str) -> None:
    assert broker.celery_app(url).conf.broker_transport_options[limit] == 5


def test_a_wrong_password_is_told_and_an_outage_is_passed_over(broker_url: str) -> None:
    broker.check(broker.celery_app(broker_url))
    broker.check(broker.celery_app("redis://127.0.0.1:1/0"))
    broker.check(broker.celery_app("amqp://127.0.0.1:1//"))
    wrong = re.sub(r":[0-9a-f]{40}@", ":wrong@", broker_url)
    assert wrong != broker_url
    with pytest.raises(RefusedByBroker, match="invalid username-password pair") as refused:
        broker.check(broker.celery_app(wrong))
    assert "wrong" not in str(refused.value)


def test_the_queue_is_asked_for_in_the_words_of_its_workers() -> None:
    """RabbitMQ refuses a declaration that differs from the first."""
    queue = broker.celery_app("amqp://h/v").amqp.queues[broker.QUEUE]
    assert (queue.name, queue.durable, queue.auto_delete) == (broker.QUEUE, True, False)
