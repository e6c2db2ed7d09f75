from __future__ import annotations

import pytest
from pydantic import ValidationError

from recsys.serve.spec import Serve, instant


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.0.1", "localhost", "::1"])
def test_this_machine_may_ask(host: str) -> None:
    assert Serve(host=host).host == host


@pytest.mark.parametrize(
    "host", ["0." * 3 + "0", "::", "10.0.0.1", "shop.example", "127.0.0.1.evil.example", ""]
)
def test_other_machines_are_refused_where_no_keys_are_named(host: str) -> None:
    with pytest.raises(ValidationError, match="no keys are named"):
        Serve(host=host)
    assert Serve(host=host, keys="keys.json").host == host


@pytest.mark.parametrize("bundle", ["../other", "/etc", "", ".hidden", "a/b"])
def test_a_bundle_is_a_name_and_no_path(bundle: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        Serve(bundle=bundle)


def test_an_instant_is_read_in_utc_unless_it_says_otherwise() -> None:
    assert instant("1970-01-01T00:00:01") == 1_000_000
    assert instant("1970-01-01T02:00:00.000001+02:00") == 1
    with pytest.raises(ValidationError, match="'noon' is no instant"):
        Serve(at="noon")
