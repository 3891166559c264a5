from __future__ import annotations

import socket
import ssl
import threading

import pytest
from bson import ObjectId
from pydantic import SecretStr, ValidationError
from redis.sentinel import SentinelConnectionPool

from orchestratex.brokers import Sentinels, broker_settings, check_certificates, parse_sentinels
from orchestratex.domain.base import Step
from orchestratex.errors import BrokerUnavailableError, LimiterUnavailableError
from orchestratex.limits.shared import RedisLimiter, connect
from orchestratex.queue import CeleryQueue, make_app
from orchestratex.settings import Settings

NOBODY = "127.0.0.1:1"  # a port that nobody listens on
SECRET = "s3cr3t-pass"  # percent-encoding changes nothing in it


def make_settings(**fields: object) -> Settings:
    return Settings.model_validate({"broker_url": None, "redis_url": None, **fields})


def test_the_broker_is_the_redis_of_the_limits_unless_another_is_named() -> None:
    redis_url = "redis://cache:6379/2"

    assert broker_settings(make_settings(redis_url=redis_url))["broker_url"] == redis_url
    assert broker_settings(make_settings(redis_url=redis_url, broker_url="amqp://mq//"))["broker_url"] == "amqp://mq//"
    assert broker_settings(make_settings())["broker_url"] == "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize("url", ["redis://h/0", "rediss://h/0", "sentinel://h:26379/0"])
def test_redis_of_every_kind_has_bounded_sockets_and_our_prefix(url: str) -> None:
    options = broker_settings(make_settings(broker_url=url, broker_prefix="mine:"))["broker_transport_options"]

    assert options["global_keyprefix"] == "mine:"
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (15, 5)


def test_rabbitmq_confirms_and_beats_and_gets_none_of_redis_options() -> None:
    made = broker_settings(make_settings(broker_url="amqp://user:pw@mq:5672/vhost"))

    assert made["broker_url"] == "amqp://user:pw@mq:5672/vhost"
    assert made["broker_transport_options"] == {"confirm_publish": True}
    assert made["broker_heartbeat"] == 20
    assert "broker_use_ssl" not in made


def test_rabbitmq_over_tls_checks_certificates_and_the_name_in_them() -> None:
    silent = broker_settings(make_settings(broker_url="amqps://mq/v"))
    told = broker_settings(make_settings(broker_url="amqps://mq/v?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem"))

    assert silent["broker_use_ssl"] == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "mq"}
    assert told["broker_url"] == "amqps://mq/v"
    assert told["broker_use_ssl"] == {"cert_reqs": ssl.CERT_NONE, "ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("redis://h/0", "redis://h/0"),
        ("rediss://h/0", "rediss://h/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h/0?ssl_cert_reqs=none"),
        ("rediss://h/0?ssl_ca_certs=/ca.pem", "rediss://h/0?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=required"),
    ],
)
def test_an_address_over_tls_says_how_certificates_are_checked(given: str, made: str) -> None:
    assert check_certificates(given) == made


def test_the_client_of_the_broker_checks_certificates_too() -> None:
    app = make_app(make_settings(broker_url="rediss://h/0?ssl_ca_certs=/ca.pem"))

    assert app.connection_for_read().ssl == {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_sentinels_share_credentials_and_database() -> None:
    url = "sentinel://:p%40ss@one:1;sentinel://two;sentinel://three:3/7"

    made = broker_settings(make_settings(broker_url=url, sentinel_master="ox", sentinel_password=SecretStr("theirs")))

    assert parse_sentinels(url) == Sentinels((("one", 1), ("two", 26379), ("three", 3)), None, "p@ss", 7)
    assert made["broker_url"].split(";") == [f"sentinel://:p%40ss@{at}/7" for at in ("one:1", "two:26379", "three:3")]
    assert made["broker_transport_options"]["master_name"] == "ox"
    assert made["broker_transport_options"]["sentinel_kwargs"]["password"] == "theirs"


def test_the_limits_ask_the_sentinels_for_their_master() -> None:
    pool = connect("sentinel://user:pw@one:1/3", master="ox").connection_pool

    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "ox"
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["db"]) == ("user", 3)


@pytest.mark.parametrize(
    ("field", "url"), [("broker_url", f"kafka://u:{SECRET}@h"), ("redis_url", f"amqp://:{SECRET}@h")]
)
def test_a_scheme_that_we_do_not_speak_is_refused_without_repeating_the_address(field: str, url: str) -> None:
    with pytest.raises(ValidationError, match=f"{field}(.|\n)*must start with") as caught:
        make_settings(**{field: url})

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/more@h:6379/0",
        f"redis://:{SECRET}@h:port/0",
        f"redis://:{SECRET}@h:0/0",
        f"rediss://:{SECRET}@h/first",
        f"sentinel://:{SECRET}@h:26379;sentinel://h2:26379/x",
        f"amqp://u:{SECRET}/more@h//",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValidationError, match=r"broker_url(.|\n)*cannot be read(.|\n)*%2F") as caught:
        make_settings(broker_url=url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel", "amqp", "amqps"])
def test_a_broker_that_is_away_is_named_without_its_password(scheme: str) -> None:
    queue = CeleryQueue(make_app(make_settings(broker_url=f"{scheme}://user:{SECRET}@{NOBODY}/0")))

    with pytest.raises(BrokerUnavailableError, match=NOBODY) as caught:
        queue.ping()

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_away_has_no_length(scheme: str) -> None:
    queue = CeleryQueue(make_app(make_settings(broker_url=f"{scheme}://user:{SECRET}@{NOBODY}/0")))

    with pytest.raises(BrokerUnavailableError, match=NOBODY) as caught:
        queue.length()

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "sentinel"])
def test_limits_that_are_away_are_named_without_their_password(scheme: str) -> None:
    limiter = RedisLimiter(connect(f"{scheme}://user:{SECRET}@{NOBODY}/0"), prefix="t:")

    with pytest.raises(LimiterUnavailableError, match=r"127\.0\.0\.1:1|mymaster") as caught:
        limiter.pause("m", seconds=1)

    assert SECRET not in str(caught.value)


def test_a_waiting_call_that_cannot_be_announced_keeps_no_later_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = CeleryQueue(make_app(make_settings(broker_url=f"redis://{NOBODY}/0")))
    announced: list[ObjectId] = []
    was_announced = threading.Event()

    def announce(step: Step, thread_id: ObjectId) -> None:
        if not announced:
            announced.append(thread_id)
            raise ValueError("of a kind that nobody thought of")
        announced.append(thread_id)
        was_announced.set()

    monkeypatch.setattr(queue, "send_iteration", announce)
    first, second = ObjectId(), ObjectId()
    queue.send_later(Step.RESPOND, first, None, delay_s=0.01)
    queue.send_later(Step.RESPOND, second, None, delay_s=0.02)

    assert was_announced.wait(30)
    assert announced == [first, second]
    queue.close()


def test_who_sends_in_the_background_does_not_wait_for_a_broker_that_hangs() -> None:
    with socket.socket() as mute:  # it takes connections and says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        queue = CeleryQueue(make_app(make_settings(broker_url=address)), in_background=True)
        is_sent = threading.Event()

        def send() -> None:
            for _ in range(100):
                queue.send_step(Step.ANALYSE, ObjectId())
            is_sent.set()

        threading.Thread(target=send, daemon=True).start()

        assert is_sent.wait(4)  # the socket's own limit is 15 s
