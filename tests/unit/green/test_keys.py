"""What a run is known by."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import keys

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values, min_size=1), st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_keys(config: dict, chance: object) -> None:
    pairs = list(config.items())
    chance.shuffle(pairs)  # type: ignore[attr-defined]
    found = keys.config_hash(config)
    assert found == keys.config_hash(dict(pairs))
    assert len(found) == 16 and int(found, 16) >= 0
    assert found != keys.config_hash({**config, "one more": 1})


@dataclasses.dataclass
class Config:
    lr: float = 1.0
    sizes: tuple[int, ...] = (1, 2)


class Kind(enum.StrEnum):
    SGD = "sgd"


def test_what_means_the_same_is_the_same() -> None:
    plain = {"lr": 1, "sizes": [1, 2]}
    for other in (
        Config(),
        argparse.Namespace(lr=1.0, sizes=(1, 2)),
        {"lr": np.float32(1.0), "sizes": np.array([1, 2])},
    ):
        assert keys.config_hash(other) == keys.config_hash(plain)
    assert keys.plain({"kind": Kind.SGD, "path": Path("/a"), "f": dict}) == {
        "kind": "sgd", "path": "/a", "f": "builtins.dict",
    }  # fmt: skip
    assert keys.config_hash({"a": True}) != keys.config_hash({"a": 1})
    assert keys.config_hash(None) == ""


def test_what_has_no_json_form_is_named() -> None:
    with pytest.raises(UsageError, match=r"config\['model'\]\[0\] is a object"):
        keys.config_hash({"model": [object()]})


def test_the_state_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
    assert keys.git_state() == ("", None)
    for words in (
        "init -q",
        "-c user.name=a -c user.email=a@b commit -q --allow-empty -m first",
    ):
        subprocess.run(["git", *words.split()], check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert keys.git_state() == (commit, False)
    Path("new.py").write_text("")
    assert keys.git_state() == (commit, False)  # files that git does not know are no change
    subprocess.run(["git", "add", "new.py"], check=True)
    assert keys.git_state() == (commit, True)
