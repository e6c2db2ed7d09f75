from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recsys.domain.dataset import Dataset
from recsys.domain.errors import ArtefactError, BrokenArtefactError
from recsys.towers import checkpoint, embed
from recsys.towers.embed import Embedder, _moved
from recsys.towers.fit import fit
from recsys.towers.lightning import forward
from recsys.towers.resident import Past, rows_in_use
from recsys.towers.spec import Causal
from recsys.towers.two_tower import ask, initial_rows
from tests.towers.shops import SMALL, Shop, job, with_encoder
from tests.towers.test_batches import KEY, assembler, sampler


@pytest.fixture(scope="module")
def embedder(shop: Shop, trained: Path) -> Embedder:
    return Embedder(embed.load(trained), shop.dataset, shop.encoded)


def test_exported_vectors_are_those_of_the_averaged_net_in_eval_mode(
    shop: Shop, trained: Path, embedder: Embedder
) -> None:
    state, _ = checkpoint.load(trained)
    spec = embedder.trained.spec
    net = shop.bare(spec)
    net.load_state_dict(state["averaged"])
    net.eval()
    make = assembler(shop, spec)
    for step in sampler(shop, 16).epoch(0)[:3]:
        batch = make(step, KEY)
        u, v = forward(net, batch, shop.resident, noise=None)
        for number, chunk in enumerate(step):
            block = batch.blocks[number]
            at = int(shop.blocks.towers.group_at[chunk.group])
            sales = batch.sales[batch.column_place[block.columns].numpy()]
            ours = embedder.sales(sales, at)
            np.testing.assert_allclose(v[block.columns].detach(), ours, atol=1e-6)
            for place, row in enumerate(chunk.rows[:4].tolist()):
                one = embedder.requests(shop.blocks.towers, slice(row, row + 1))[0]
                np.testing.assert_allclose(u[block.rows][place].detach(), one, atol=1e-5)


def test_the_averages_are_exported_and_not_the_last_weights(
    shop: Shop, trained: Path, embedder: Embedder
) -> None:
    state, _ = checkpoint.load(trained)
    assert not torch.equal(state["averaged"]["table"], state["net"]["table"])
    assert torch.equal(embedder.vectors.net.table, state["averaged"]["table"])
    assert embedder.tau == pytest.approx(float(state["averaged"]["log_tau"].exp()))


def test_vectors_are_finite_float32_of_unit_length_and_named(
    shop: Shop, embedder: Embedder
) -> None:
    at = shop.dataset.watermark
    sales = embedder.embeddings_sales(np.arange(shop.dataset.num_sales), at)
    members = embedder.embeddings_members(np.arange(shop.dataset.num_members)[::-1], at)
    assert sales.ids.tolist() == shop.dataset.sales["sale"].to_list()
    assert members.ids.tolist() == shop.dataset.members["member"].to_list()[::-1]
    assert sales.fingerprint == members.fingerprint == embedder.fingerprint
    for part in (sales, members):
        assert part.vectors.dtype == np.float32
        assert part.unit_dims == SMALL.dim - 1
        np.testing.assert_allclose(np.linalg.norm(part.unit, axis=1), 1, atol=1e-5)
    assert np.all(members.vectors[:, -1] == 1)


def test_scores_are_inner_products_of_exported_vectors(shop: Shop, embedder: Embedder) -> None:
    requests, score = shop.blocks.test, embedder.scorer()
    for group in range(requests.num_groups):
        rows = requests.rows(group)
        at, shelf = int(requests.group_at[group]), requests.shelf(group)
        sales = embedder.embeddings_sales(shelf, at).vectors
        members = embedder.embeddings_members(requests.member[rows], at).vectors
        np.testing.assert_allclose(score(requests, rows), members @ sales.T, atol=1e-5)
        # the shelf is kept, whatever part of the group comes next
        some = slice(rows.start + 1, rows.start + 2)
        np.testing.assert_allclose(score(requests, some), members[1:2] @ sales.T, atol=1e-5)


def test_a_scorer_tells_two_sets_of_requests_apart(shop: Shop, embedder: Embedder) -> None:
    score, fresh = embedder.scorer(), embedder.scorer()
    for requests in (shop.blocks.validation, shop.blocks.test, shop.blocks.validation):
        rows = requests.rows(0)
        assert np.array_equal(score(requests, rows), fresh(requests, rows))
        fresh = embedder.scorer()


def test_members_now_know_their_past_up_to_the_instant(shop: Shop, embedder: Embedder) -> None:
    requests = shop.blocks.test
    rows = requests.rows(0)
    at = int(requests.group_at[0])
    as_asked = embedder.requests(requests, rows)
    np.testing.assert_allclose(embedder.members(requests.member[rows], at), as_asked, atol=1e-6)
    history = shop.dataset.history
    member = int(requests.member[rows][0])
    last = int(history.at[history.member == member].max())
    before, after = (embedder.members(np.array([member]), t) for t in (last, last + 1))
    assert not np.allclose(before, after, atol=1e-4)


def test_vectors_of_other_encoders_are_refused(shop: Shop, trained: Path) -> None:
    strange = replace(shop.encoded, fingerprint="0" * 16)
    with pytest.raises(ArtefactError, match="know encoders"):
        Embedder(embed.load(trained), shop.dataset, strange)


def test_a_damaged_checkpoint_is_not_opened(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / trained.name
    copy.mkdir()
    for file in trained.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert embed.load(copy).fingerprint == embed.load(trained).fingerprint
    tensors = copy / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\1")
    with pytest.raises(BrokenArtefactError, match=r"tensors\.safetensors"):
        embed.load(copy)


def later(dataset: Dataset, gone: int) -> Dataset:
    """Drop the first sales, as old ones are, and rename the last one: a sale of tomorrow."""
    ids = dataset.sales["sale"].to_list()
    sales = dataset.sales.with_columns(pl.Series("sale", [*ids[:-1], "tomorrow"]))[gone:]
    events = dataset.events.where(dataset.events.sale >= gone)
    moved = replace(events, sale=(events.sale - gone).astype(np.int32))
    return replace(dataset, sales=sales, events=moved)


def test_own_vectors_follow_their_sale_into_later_data(shop: Shop, trained: Path) -> None:
    gone = 3
    opened = embed.load(trained)
    after = later(shop.dataset, gone)
    sales = shop.encoded.sales
    first = int(sales.ptr[gone])
    kept = replace(
        sales,
        ptr=sales.ptr[gone:] - first,
        row=sales.row[first:],
        field=sales.field[first:],
        weight=sales.weight[first:],
        dense=sales.dense[gone:],
    )
    encoded = replace(shop.encoded, sales=kept)
    net = opened.net(rows_in_use(encoded), after)
    before = opened.net(shop.resident.used, shop.dataset)
    assert net.sale_input.own is not None
    assert before.sale_input.own is not None
    assert torch.equal(net.sale_input.own[:-1], before.sale_input.own[gone:-1])
    assert torch.equal(net.sale_input.known[:-1], before.sale_input.known[gone:-1])
    assert before.sale_input.known.any()
    assert net.sale_input.known[-1] == 0
    assert torch.all(net.sale_input.own[-1] == 0)


def test_a_value_never_seen_has_the_row_of_an_untrained_table(shop: Shop, trained: Path) -> None:
    opened = embed.load(trained)
    unseen = np.setdiff1d(np.arange(opened.sizes.table_rows), opened.used)[:2]
    used = np.sort(np.concatenate((opened.used, unseen)))
    net = opened.net(used, shop.dataset)
    fresh = initial_rows(opened.sizes, unseen, dim=SMALL.dim, seed=opened.seed)
    assert torch.equal(net.table[np.searchsorted(used, unseen)], fresh)
    trained_rows = opened.weights["table"]
    assert torch.equal(net.table[np.searchsorted(used, opened.used)], trained_rows)


def test_rows_move_by_key() -> None:
    rows, into = torch.tensor([[1.0], [2.0], [3.0]]), torch.zeros(4, 1)
    keys, wanted = np.array([30, 10, 20]), np.array([20, 99, 5, 30])
    assert _moved(rows, keys, wanted, into=into).flatten().tolist() == [3, 0, 0, 1]


def test_export_needs_no_gradient_and_no_event(shop: Shop, embedder: Embedder) -> None:
    assert not any(p.requires_grad for p in embedder.vectors.net.parameters())
    nobody = embedder.members(np.zeros(0, dtype=np.int64), shop.dataset.watermark)
    assert nobody.shape == (0, SMALL.dim)
    first = int(shop.dataset.opens_at[0])
    member = np.arange(5)
    past = Past(member, shop.resident.member_ptr[member], np.full(5, first))
    asked = ask(shop.resident, past, length=32)
    assert not asked.window.valid.any()
    assert np.isfinite(embedder.members(np.arange(5), first)).all()


def test_towers_of_an_earlier_version_are_refused_by_name(shop: Shop, tmp_path: Path) -> None:
    known = embed.load(fit(job(shop, tmp_path, with_encoder(SMALL, Causal()))))
    weights = {name.replace(".key.", ".key_value."): one for name, one in known.weights.items()}
    with pytest.raises(ArtefactError, match=r"(?s)earlier version.*causal.*train again"):
        Embedder(replace(known, weights=weights), shop.dataset, shop.encoded)
