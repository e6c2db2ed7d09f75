from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from recsys.domain.errors import SettingError
from recsys.domain.source import Source
from recsys.public import read
from recsys.public.spec import PublicSource

KINDS = get_args(get_args(PublicSource)[0])


@pytest.mark.parametrize("spec", KINDS)
def test_every_set_states_its_protocol_and_lets_its_root_be_named(spec: type[Source]) -> None:
    assert "Protocol:" in str(spec.__doc__)
    assert "root" in spec.model_fields
    source = TypeAdapter(PublicSource).validate_python({"kind": spec.model_fields["kind"].default})
    assert type(source) is spec


@pytest.mark.parametrize("spec", KINDS)
def test_files_that_are_not_there_are_named_with_what_to_do(
    spec: type[Source], tmp_path: Path
) -> None:
    source = TypeAdapter(PublicSource).validate_python({
        "kind": spec.model_fields["kind"].default,
        "root": str(tmp_path),
    })
    with pytest.raises(SettingError, match=r"does not hold (?s:.)*data\.root=PATH") as refused:
        read(source)
    assert str(tmp_path) in str(refused.value)


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PublicSource).validate_python({"kind": "imagenet"})
