from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.domain.arrays import F64
from recsys.domain.requests import Requests
from recsys.towers import checkpoint, embed, widen
from recsys.towers.embed import Embedder
from recsys.towers.fit import fit
from recsys.towers.job import TowerJob
from recsys.towers.monitor import Score, each_weight, validate
from recsys.towers.resident import Past
from recsys.towers.spec import Spectral
from recsys.towers.spectral import Spectrum
from recsys.towers.vectors import Vectors
from tests.towers.shops import SMALL, Shop, job
from tests.towers.test_embed import later

RANK = 5
WIDE = SMALL.model_copy(update={"epochs": 2, "spectral": Spectral(rank=RANK)})


@pytest.fixture(scope="module")
def spectrum(endless: Shop) -> Spectrum:
    return replace(
        Spectrum.of(endless.dataset, endless.blocks.towers, Spectral(rank=RANK)), weight=0.5
    )


@pytest.fixture(scope="module")
def finished(endless: Shop, tmp_path_factory: pytest.TempPathFactory) -> TowerJob:
    """Towers that are trained, without coordinates."""
    off = WIDE.model_copy(update={"spectral": Spectral()})
    made = job(endless, tmp_path_factory.mktemp("finished"), off)
    fit(made)
    return made


def known_in(shop: Shop) -> F64:
    """Who engaged with what in the towers' block, [members, sales]: pasts and outcomes."""
    block, history = shop.blocks.towers, shop.dataset.history
    matrix = np.zeros((shop.dataset.num_members, shop.dataset.num_sales))
    for request, member in enumerate(block.member.tolist()):
        past = slice(int(history.member_ptr[member]), int(block.history_end[request]))
        matrix[member, history.sale[past]] = 1
        targets = slice(int(block.target_ptr[request]), int(block.target_ptr[request + 1]))
        matrix[member, block.target_sale[targets]] = 1
    return matrix


def test_coordinates_are_the_low_pass_of_the_towers_block(
    endless: Shop, spectrum: Spectrum
) -> None:
    matrix = known_in(endless)
    known = matrix.any(axis=0)
    assert not known.all()
    assert np.array_equal(spectrum.sale.numpy().any(axis=1), known)
    r, by_sale = matrix[:, known], matrix[:, known].sum(axis=0)
    tilde = r / np.sqrt(np.maximum(r.sum(axis=1), 1)[:, None] * by_sale)
    _, strength, right = np.linalg.svd(tilde, full_matrices=False)
    low = (right[:RANK].T / np.sqrt(by_sale)[:, None]) @ (right[:RANK] * np.sqrt(by_sale))
    found = spectrum.past.numpy()[known] @ spectrum.sale.numpy()[known].T
    assert strength[RANK - 1] > 1.001 * strength[RANK]
    np.testing.assert_allclose(found, low, atol=2e-3)


def test_a_members_coordinates_are_the_sum_over_their_known_past(
    endless: Shop, spectrum: Spectrum
) -> None:
    columns, history = embed.columns(spectrum, endless.dataset), endless.dataset.history
    members = np.arange(endless.dataset.num_members)
    rng = np.random.default_rng(0)
    first = history.member_ptr[:-1]
    end = first + rng.integers(0, np.diff(history.member_ptr) + 1)
    found = columns.members(Past(members, end, np.zeros_like(end))).numpy()
    known = (spectrum.sale.numpy() != 0).any(axis=1)
    for member in members.tolist():
        sales = np.unique(history.sale[first[member] : end[member]])
        sales = sales[known[sales]]
        expected = spectrum.past.numpy()[sales].sum(axis=0) / np.sqrt(max(len(sales), 1))
        np.testing.assert_allclose(found[member], 0.5 * expected, atol=1e-5)
    blank = columns.members(Past(members, first, np.zeros_like(first)))
    assert blank.shape == (len(members), RANK)
    assert not blank.any()


def test_what_follows_the_towers_block_changes_no_coordinate(
    endless: Shop, spectrum: Spectrum
) -> None:
    events, block = endless.dataset.events, endless.blocks.towers
    after = (events.at >= block.at.max() + block.outcome_us) & (events.sale >= 0)
    assert after.any()
    other = np.where(after, 0, events.sale).astype(np.int32)
    changed = replace(endless.dataset, events=replace(events, sale=other))
    again = Spectrum.of(changed, block, Spectral(rank=RANK))
    assert torch.equal(again.sale, spectrum.sale)
    assert torch.equal(again.past, spectrum.past)


def wide(shop: Shop, made: TowerJob, spectrum: Spectrum) -> tuple[Embedder, Embedder]:
    """The towers alone, and with coordinates."""
    trained = embed.load(fit(made))
    return (
        Embedder(trained, shop.dataset, shop.encoded),
        Embedder(replace(trained, spectrum=spectrum), shop.dataset, shop.encoded),
    )


def test_the_towers_own_coordinates_stay_and_scores_add_up(
    endless: Shop, finished: TowerJob, spectrum: Spectrum
) -> None:
    alone, both = wide(endless, finished, spectrum)
    requests = endless.blocks.validation
    at, rows = int(requests.group_at[0]), requests.rows(0)
    members = requests.member[rows]
    dim = SMALL.dim
    for one, other in (
        (alone.sales(requests.shelf(0), at), both.sales(requests.shelf(0), at)),
        (alone.members(members, at), both.members(members, at)),
    ):
        assert np.array_equal(one, other[:, :dim])
        assert other.shape[1] == dim + RANK
        assert other.dtype == np.float32
        assert other[:, dim:].any()
    assert both.unit_dims == alone.unit_dims == dim - 1
    added = both.scorer()(requests, rows) - alone.scorer()(requests, rows)
    u, v = both.requests(requests, rows)[:, dim:], both.sales(requests.shelf(0), at)[:, dim:]
    np.testing.assert_allclose(added, u @ v.T, atol=1e-5)
    bare = both.alone()
    assert bare is not None
    assert np.array_equal(bare.scorer()(requests, rows), alone.scorer()(requests, rows))
    assert bare.alone() is None
    assert both.sales(requests.shelf(0), at).shape[1] == dim + RANK
    exported = both.embeddings_sales(np.arange(endless.dataset.num_sales), at)
    np.testing.assert_allclose(np.linalg.norm(exported.unit, axis=1), 1, atol=1e-5)


def test_coordinates_follow_their_sale_into_later_data(
    endless: Shop, finished: TowerJob, spectrum: Spectrum
) -> None:
    gone = 3
    trained = replace(embed.load(fit(finished)), spectrum=spectrum)
    before, after = (
        trained.columns(data) for data in (endless.dataset, later(endless.dataset, gone))
    )
    assert before is not None
    assert after is not None
    assert np.array_equal(after.sale[:-1], before.sale[gone:-1])
    assert np.array_equal(after.past[:-1], before.past[gone:-1])
    assert not after.sale[-1].any()
    assert not after.past[-1].any()


def judged(ndcg: Callable[[tuple[float, ...]], list[float]]) -> Callable[..., list[Score]]:
    """A validation that knows what it wants of the weights."""

    def each_weight(
        vectors: Vectors, requests: Requests, weights: tuple[float, ...], *, seed: int
    ) -> list[Score]:
        assert vectors.columns is not None
        assert (len(requests) > 0, seed) == (True, 1)
        return [Score(found, recall=0, day0_ndcg=0, rank=2, likeness=0) for found in ndcg(weights)]

    return each_weight


def widened(made: TowerJob, tmp_path: Path) -> tuple[dict[str, object], Embedder, list[str]]:
    said: list[str] = []
    asked = replace(made, folder=tmp_path, towers=WIDE, tell=said.append)
    folder = widen.widen(asked, fit(made))
    state, _ = checkpoint.load(folder)
    return state["spectral"], Embedder(embed.load(folder), made.dataset, made.encoded), said


def test_the_best_weight_on_validation_is_kept_and_told(
    finished: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, ...]] = []

    def peak(weights: tuple[float, ...]) -> list[float]:
        asked.append(weights)
        # the fourth weight but none is the best
        return [1.0 if number == 4 else 0.5 for number in range(len(weights))]

    monkeypatch.setattr(widen, "each_weight", judged(peak))
    kept, embedder, (said,) = widened(finished, tmp_path)
    shares = np.array(WIDE.spectral.weights)
    ((none, *weights),) = asked
    assert none == 0
    np.testing.assert_allclose(np.array(weights) / weights[-1], shares / shares[-1], rtol=1e-4)
    tried = dict(kept["tried"])  # type: ignore[call-overload]  # pairs
    assert tried == dict.fromkeys((none, *weights), 0.5) | {weights[3]: 1.0}
    assert kept["weight"] == weights[3]
    own = embed.columns(
        Spectrum.of(finished.dataset, finished.train, WIDE.spectral), finished.dataset
    )
    assert embedder.vectors.columns is not None
    np.testing.assert_allclose(embedder.vectors.columns.past, weights[3] * own.past, rtol=1e-5)
    assert said.startswith(f"  spectral {RANK} coordinates, weight ")
    assert said.endswith(": nDCG@10 0.5000 to 1.0000")
    assert embedder.sales(np.arange(3), 0).shape == (3, SMALL.dim + RANK)


def test_where_no_weight_helps_no_coordinate_is_added(
    finished: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widen, "each_weight", judged(lambda tried: [0.25] * len(tried)))
    kept, embedder, said = widened(finished, tmp_path)
    assert kept["weight"] == 0
    assert said == ["  spectral no weight helps, nDCG@10 stays 0.2500: no coordinate is added"]
    assert embedder.sales(np.arange(3), 0).shape == (3, SMALL.dim)
    assert embedder.members(np.arange(3), 0).shape == (3, SMALL.dim)


def test_each_weight_is_judged_as_what_is_exported_with_it(
    endless: Shop, finished: TowerJob, spectrum: Spectrum
) -> None:
    alone, _ = wide(endless, finished, spectrum)
    requests, weights = endless.blocks.validation, (0.0, 0.3, 2.0)
    beside = embed.columns(replace(spectrum, weight=1.0), endless.dataset)
    found = each_weight(alone.vectors.widened(beside), requests, weights, seed=1)
    plain = validate(alone.vectors, requests, seed=1)
    assert (found[0].ndcg, found[0].recall) == (plain.ndcg, plain.recall)
    assert found[0].ndcg != found[2].ndcg
    for weight, score in zip(weights[1:], found[1:], strict=True):
        _, both = wide(endless, finished, replace(spectrum, weight=weight))
        exported = validate(both.vectors, requests, seed=1)
        assert score.ndcg == pytest.approx(exported.ndcg, abs=1e-3)


def test_at_weight_one_of_the_spread_both_parts_spread_scores_alike(
    endless: Shop, finished: TowerJob, spectrum: Spectrum
) -> None:
    alone, both = wide(endless, finished, spectrum)
    requests = endless.blocks.validation
    unit = widen._unit(both.vectors, requests)
    rows = requests.rows(0)
    own = alone.scorer()(requests, rows)[: widen._SAMPLE]
    added = both.scorer()(requests, rows)[: widen._SAMPLE] - own
    assert requests.num_groups == 1
    assert unit == pytest.approx(own.std(axis=1).sum() / added.std(axis=1).sum(), rel=1e-3)


def test_a_fit_ends_with_the_wide_checkpoint_and_goes_on_from_it_at_once(
    endless: Shop, tmp_path: Path
) -> None:
    said: list[str] = []
    asked = replace(job(endless, tmp_path, WIDE), tell=said.append)
    folder = fit(asked)
    assert folder.name.startswith("spectral-step-")
    plain = folder.parent / folder.name.removeprefix("spectral-")
    assert plain.is_dir()
    assert len(said) == 1
    state, _ = checkpoint.load(folder)
    assert fit(asked) == folder
    assert len(said) == 1
    # a damaged one is told of and made again
    tensors = folder / "tensors.safetensors"
    tensors.chmod(0o644)
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\1")
    assert fit(asked) == folder
    assert len(said) == 3
    again, _ = checkpoint.load(folder)
    assert again["spectral"]["weight"] == state["spectral"]["weight"]
    assert torch.equal(again["spectral"]["sale"], state["spectral"]["sale"])
    assert embed.load(folder).fingerprint != embed.load(plain).fingerprint
