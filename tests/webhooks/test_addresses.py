"""Where webhooks may go: public addresses, and networks the settings allow."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from screening.webhooks import addresses, sending
from screening.webhooks.addresses import AddressRefused, addresses_resolve, is_allowed, target_parse
from screening.webhooks.sending import Message, message_send
from tests.webhooks.receiver import receiving

MESSAGE = Message("d1", "decision", b"{}", "secret")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "fec0::1",
        "64:ff9b:1::a00:1",
        "64:ff9b:1::808:808",
        "::ffff:0:10.0.0.1",
        "::8.8.8.8",
        "5f00::1",
        "1::1",
    ],
)
def test_it_refuses_addresses_that_are_not_public(address: str) -> None:
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_it_takes_public_addresses(address: str) -> None:
    assert is_allowed(ip_address(address))


def test_it_takes_what_the_settings_allow_and_nothing_beside(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("10.20.0.0/16"), ip_network("::1/128")]
    assert is_allowed(ip_address("10.20.3.4"))
    assert is_allowed(ip_address("::ffff:10.20.3.4"))
    assert is_allowed(ip_address("::1"))
    assert not is_allowed(ip_address("10.21.0.1"))
    assert not is_allowed(ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user:pass@example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://example.com/\r\nHost: other",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "https://example.com/#part",
        "https://exämple.com/",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_it_refuses_what_is_no_address_of_a_webhook(url: str) -> None:
    with pytest.raises(AddressRefused):
        target_parse(url)


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]"]
)
def test_it_refuses_every_spelling_of_this_machine(host: str) -> None:
    with pytest.raises((AddressRefused, OSError)):
        addresses_resolve(target_parse(f"http://{host}/"))


def _resolving(*rounds: list[str]) -> Any:
    """getaddrinfo that answers differently each time it is asked: DNS rebinding."""
    answers = list(rounds)

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    return getaddrinfo


def test_it_refuses_a_name_with_one_address_that_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses.socket, "getaddrinfo", _resolving(["8.8.8.8", "10.0.0.1"]))
    outcome = message_send("http://example.com/", MESSAGE)
    assert outcome.status is None
    assert outcome.error.startswith("refused: 10.0.0.1")


def test_it_connects_to_the_address_it_checked_whatever_the_name_says_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected: list[tuple[str, int]] = []

    def create_connection(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("no network here")

    with receiving() as receiver:
        monkeypatch.setattr(addresses.socket, "getaddrinfo", _resolving(["93.184.216.34"], ["127.0.0.1"]))
        monkeypatch.setattr(sending.socket, "create_connection", create_connection)
        outcome = message_send(f"http://rebinding.example:{receiver.port}/", MESSAGE)
        assert connected == [("93.184.216.34", receiver.port)]
        assert "ConnectionRefusedError" in outcome.error
        assert receiver.received == []


def test_it_reaches_nothing_on_this_machine_unless_allowed(settings: Any) -> None:
    with receiving() as receiver:
        assert message_send(receiver.url, MESSAGE).error.startswith("refused: 127.0.0.1")
        assert receiver.received == []
        settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
        assert message_send(receiver.url, MESSAGE).is_delivered


def test_it_follows_no_redirect(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with receiving(302) as receiver:
        outcome = message_send(receiver.url, MESSAGE)
        assert (outcome.status, outcome.is_delivered) == (302, False)
        assert len(receiver.received) == 1


def test_it_gives_up_on_a_receiver_that_answers_byte_by_byte(settings: Any) -> None:
    import threading
    import time

    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    settings.WEBHOOK_TIMEOUT_S = 0.2
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _ = server.accept()
        with client:
            try:
                for _ in range(100):
                    client.sendall(b"H")
                    time.sleep(0.05)
            except OSError:
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    started = time.monotonic()
    outcome = message_send(f"http://127.0.0.1:{server.getsockname()[1]}/", MESSAGE)
    assert not outcome.is_delivered
    assert time.monotonic() - started < 2
    thread.join()
    server.close()
