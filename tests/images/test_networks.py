"""Which addresses are the internet's and which are somebody's own, and that only the former are ever connected to."""

import pytest
from httpcore2 import ConnectError, SyncBackend
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopsearch.exceptions import ImageUnavailable
from shopsearch.images import http
from shopsearch.images.download import Downloader, is_in, is_public

NOT_PUBLIC = (
    "0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 127.8.9.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 "
    "192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.250 "
    "240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 "
    "64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 "
    "fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 nonsense "
)


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_private_local_reserved_and_disguised_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6) | st.ip_addresses(network="2000::/3"))
def test_what_is_public_here_is_public_to_python_too(address):
    if is_public(str(address)):
        assert (address.is_global, address.is_multicast, address.is_private) == (True, False, False)
        assert not getattr(address, "ipv4_mapped", None)
        assert not getattr(address, "sixtofour", None)


def test_a_network_of_the_shops_own_may_be_allowed():
    assert is_in("10.1.2.3", ("10.1.0.0/16",))
    assert not is_in("10.2.2.3", ("10.1.0.0/16",))
    assert not is_in("::ffff:10.1.2.3", ("10.1.0.0/16",))
    assert not is_in("nonsense", ("10.1.0.0/16",))


HOSTS = st.sampled_from(["pictures.example", "127.0.0.1", "[::1]", "10.1", "a@b", "", "ß.de", "%31", "a b"])


@given(
    address=st.text(max_size=60)
    | st.builds(
        "{}://{}{}/{}".format,
        st.sampled_from(["https", "http", "HTTPS", "httpſ", "gopher"]),
        HOSTS | st.text(max_size=20),
        st.sampled_from(["", ":443", ":80", ":0", ":-1", ":٤٤٣", ":22"]),
        st.text(max_size=20),
    ),
    found=st.lists(st.ip_addresses().map(str), max_size=3),
)
@example(address="https://a/", found=["8.8.8.8"])
@hypothesis_settings(max_examples=300)
def test_whatever_is_asked_only_public_addresses_and_the_https_port_are_connected_to(address, found):
    """Over a network that refuses every connection and notes where it was to lead."""
    connected = []

    def connect(self, host, port, timeout):
        connected.append((host, port))
        raise ConnectError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "_look_up", lambda *_: found)
        patch.setattr(SyncBackend, "connect_tcp", connect)
        with pytest.raises(ImageUnavailable):
            Downloader().fetch(address)
    assert all(is_public(host) and port == 443 for host, port in connected)
    if connected:
        assert all(map(is_public, found))
