from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
import torch

from recsys.data.contract import check
from recsys.domain.arrays import I64
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from recsys.domain.tables import Tables
from recsys.towers.batches import past_of
from recsys.towers.member import past_numbers
from recsys.towers.resident import Past, Resident
from recsys.towers.sale import SaleTower
from recsys.towers.spec import Encoder, TwoTower
from recsys.towers.standard import standardise, targets
from recsys.towers.two_tower import Sizes, TwoTowerNet, initial_rows
from recsys.towers.vectors import Vectors
from tests.builders import tiny_tables
from tests.towers.shops import (
    CPU,
    ENCODERS,
    SMALL,
    Shop,
    named,
    shaken,
    shop_of,
    with_encoder,
)

every_encoder = pytest.mark.parametrize("encoder", ENCODERS, ids=named)

ELEVEN_YEARS = timedelta(days=4018)
"""From 2015 to 2026: dates fall on the same weekdays, and clocks move on the same day."""


def vectors_of(shop: Shop, spec: TwoTower = SMALL) -> Vectors:
    return Vectors(shaken(shop.net(spec)), shop.resident)


def shelf_scores(shop: Shop, spec: TwoTower, group: int) -> torch.Tensor:
    vectors, requests = vectors_of(shop, spec), shop.blocks.towers
    v = vectors.sales(requests.shelf(group).astype(np.int64), int(requests.group_at[group]))
    return vectors.requests(requests, requests.rows(group)) @ v.T


def test_a_score_is_a_cosine_plus_the_bias_of_the_sale(shop: Shop) -> None:
    vectors, requests = vectors_of(shop), shop.blocks.towers
    v = vectors.sales(np.arange(shop.dataset.num_sales), int(requests.group_at[-1]))
    u = vectors.requests(requests, slice(0, 200))
    assert torch.equal(u[:, -1], torch.ones(200))
    for part in (u, v):
        torch.testing.assert_close(part[:, :-1].norm(dim=1), torch.ones(len(part)))
    cosine = torch.cosine_similarity(u[:, None, :-1], v[None, :, :-1], dim=2)
    torch.testing.assert_close(u @ v.T, cosine + v[:, -1], rtol=0, atol=1e-6)
    assert v[:, -1].std() > 0.01


def test_the_bias_is_bounded_and_blind_to_the_own_vector(shop: Shop) -> None:
    at = int(shop.blocks.towers.group_at[-1])
    everything = np.arange(shop.dataset.num_sales)
    net = shaken(shop.net(TwoTower(dim=16, bias_max=0.3)))
    before = Vectors(net, shop.resident).sales(everything, at)
    assert net.sale_input.own is not None
    net.sale_input.known.fill_(1)
    with torch.no_grad():
        net.sale_input.own.normal_()
    after = Vectors(net, shop.resident).sales(everything, at)
    assert torch.equal(before[:, -1], after[:, -1])
    assert not torch.equal(before[:, :-1], after[:, :-1])
    with torch.no_grad():
        net.sale_tower.base_bias.fill_(100)
        z = Vectors(net, shop.resident).z
        assert torch.allclose(net.sale_tower.content(z), torch.tensor(0.3))


def test_popularity_reaches_the_bias_and_nothing_else(shop: Shop) -> None:
    first, last = (int(shop.blocks.towers.group_at[g]) for g in (0, -1))
    old = np.flatnonzero(shop.dataset.opens_at < first)
    vectors = vectors_of(shop)
    early, late = vectors.sales(old, first), vectors.sales(old, last)
    assert torch.equal(early[:, :-1], late[:, :-1])
    assert not torch.equal(early[:, -1], late[:, -1])


def blank(tables: Tables) -> Tables:
    """Hide all that is known of one member and one sale."""
    fields = ("brand", "price", "title", "category", "gender", "discount", "tags")
    kept = pl.when(pl.col("sale") != "s0007").then(pl.col(*fields)).name.keep()
    assert tables.members is not None
    told = pl.when(pl.col("member") != "m0003").then(pl.col("region", "likes", "income"))
    return replace(
        tables,
        members=tables.members.with_columns(told.name.keep()),
        sales=tables.sales.with_columns(kept),
        events=tables.events.filter(pl.col("member") != "m0003"),
    )


@every_encoder
@pytest.mark.parametrize("identity", ["bounded", "free", "off"])
def test_blank_members_and_sales_have_finite_unit_vectors(identity: str, encoder: Encoder) -> None:
    dataset = check(blank(tiny_tables(members=60, days=14)), Source()).dataset
    shop = shop_of(dataset)
    spec = TwoTower.model_validate({"dim": 16, "id": identity, "encoder": encoder})
    member = dataset.members["member"].to_list().index("m0003")
    sale = dataset.sales["sale"].to_list().index("s0007")
    assert np.isnan(dataset.shop.price[sale])
    assert not (dataset.history.member == member).any()
    vectors = vectors_of(shop, spec)
    at = int(shop.blocks.towers.group_at[-1])
    u = vectors.members(
        Past(np.array([member]), dataset.history.member_ptr[[member]], np.array([at]))
    )
    v = vectors.sales(np.array([sale]), at)
    for part in (u, v):
        assert torch.isfinite(part).all()
        torch.testing.assert_close(part[:, :-1].norm(dim=1), torch.ones(1))


@every_encoder
def test_all_times_moved_by_eleven_years_leave_scores_equal(encoder: Encoder) -> None:
    tables = tiny_tables(members=60, days=14)
    frames = {f.name: getattr(tables, f.name) for f in fields(tables)}
    moved: dict[str, Any] = {
        name: frame.with_columns(cs.datetime() - ELEVEN_YEARS)
        for name, frame in frames.items()
        if isinstance(frame, pl.DataFrame)
    }
    assert tables.watermark is not None
    then = replace(tables, **moved, watermark=tables.watermark - ELEVEN_YEARS)
    shops = [shop_of(check(t, Source()).dataset) for t in (tables, then)]
    assert int(shops[0].dataset.opens_at[0]) - int(shops[1].dataset.opens_at[0]) == 4018 * DAY
    group = shops[0].blocks.towers.num_groups - 1
    now, before = (shelf_scores(shop, with_encoder(SMALL, encoder), group) for shop in shops)
    torch.testing.assert_close(now, before, rtol=0, atol=1e-6)


@every_encoder
def test_a_request_scores_the_same_alone_and_in_a_crowd(shop: Shop, encoder: Encoder) -> None:
    vectors, requests = vectors_of(shop, with_encoder(SMALL, encoder)), shop.blocks.towers
    together = vectors.requests(requests, slice(0, 300))
    for row in range(0, 300, 37):
        alone = vectors.requests(requests, slice(row, row + 1))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-6)


@every_encoder
def test_what_happens_at_or_after_a_decision_leaves_the_member_alone(
    shop: Shop, encoder: Encoder
) -> None:
    requests, dataset = shop.blocks.towers, shop.dataset
    group = requests.num_groups // 2
    rows, at = requests.rows(group), int(requests.group_at[group])
    earlier = replace(dataset, events=dataset.events.where(dataset.events.at < at))
    assert 0 < len(earlier.history) < len(dataset.history)
    net = shaken(shop.net(with_encoder(SMALL, encoder)))
    before = Vectors(net, shop.resident).requests(requests, rows)
    past = past_of(requests, rows)
    then = Resident.of(earlier, shop.encoded, CPU)
    assert (requests.at[rows] == at).all()
    now = replace(past, end=then.member_ptr[past.member + 1])
    assert torch.equal(Vectors(net, then).members(now), before)


@every_encoder
def test_own_vectors_of_sales_that_were_hardly_targets_do_not_reach_the_export(
    shop: Shop, encoder: Encoder
) -> None:
    net = shaken(shop.net(with_encoder(SMALL, encoder)))
    own = net.sale_input.own
    assert own is not None
    everything = np.arange(shop.dataset.num_sales)
    at = int(shop.blocks.test.group_at[-1])
    unknown = torch.from_numpy(targets(shop.blocks.towers, len(everything)) < 5)
    assert 0 < int(unknown.sum()) < len(everything)

    def export() -> torch.Tensor:
        vectors = Vectors(net, shop.resident)
        u = vectors.requests(shop.blocks.test, slice(0, 100))
        return torch.cat((vectors.sales(everything, at), u))

    before = export()
    with torch.no_grad():
        own[unknown] = own[unknown].flip(0) + 1
    assert torch.equal(export(), before)
    with torch.no_grad():
        own[~unknown] = own[~unknown].flip(0) + 1
    assert not torch.equal(export(), before)


def with_targets(requests: Requests, counts: I64) -> Requests:
    """Give sale i counts[i] targets, one a request."""
    sale = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    n = len(sale)
    made = requests.take(np.arange(n))
    return replace(
        made,
        target_ptr=np.arange(n + 1),
        target_sale=sale,
        target_kind=np.ones(n, dtype=np.uint8),
        target_weight=np.ones(n, dtype=np.float32),
    )


@pytest.mark.parametrize(
    ("n_min", "known"), [(5, [0, 0, 1, 1]), (0, [1, 1, 1, 1]), (6, [0, 0, 0, 1])]
)
def test_five_targets_make_a_sale_known_and_four_do_not(
    shop: Shop, n_min: int, known: list[int]
) -> None:
    net = shop.net(TwoTower(dim=8, n_min=n_min))
    standardise(net, shop.resident, with_targets(shop.blocks.towers, np.array([0, 4, 5, 6])))
    assert net.sale_input.known[:4].tolist() == known


@every_encoder
def test_starting_weights_depend_on_the_seed_alone(shop: Shop, encoder: Encoder) -> None:
    spec = with_encoder(SMALL, encoder)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = shop.net(spec, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    two, other = shop.net(spec, seed=3), shop.net(spec, seed=4)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name
    assert not torch.equal(one.table, other.table)


def test_an_untrained_row_of_the_table_depends_on_its_number_alone(shop: Shop) -> None:
    sizes = Sizes.of(shop.encoded)
    some = initial_rows(sizes, np.array([3, 900]), dim=8, seed=1)
    more = initial_rows(sizes, np.array([3, 17, 900, 901]), dim=8, seed=1)
    assert torch.equal(some, more[[0, 2]])


@every_encoder
def test_every_weight_and_buffer_is_float32(shop: Shop, encoder: Encoder) -> None:
    state = shop.net(with_encoder(SMALL, encoder)).state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_a_sale_tower_starts_as_the_identity_without_bias() -> None:
    tower = SaleTower(TwoTower(dim=8))
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tower.unit(x), torch.nn.functional.normalize(x[:, :-1], dim=1))
    as_of = torch.ones(5, len(tower.as_of_bias))
    assert torch.all(tower.bias(tower.content(x)[:, None], as_of, tau=torch.tensor(0.1)) == 0)


def test_standardised_numbers_have_mean_zero_and_deviation_one(shop: Shop) -> None:
    net, requests = shop.net(SMALL), shop.blocks.towers
    shown = shop.resident.window(past_of(requests, slice(0, len(requests))), length=32)
    numbers = past_numbers(shown, shop.resident.log_price)
    tower = net.member_tower
    scaled = (numbers - tower.number_mean) * tower.number_scale
    assert torch.all(scaled.nanmean(dim=0).abs() < 1e-3)
    spread = scaled.square().nanmean(dim=0).sqrt()
    assert torch.all((spread - 1).abs().lt(1e-3) | (spread == 0))


def test_standardisers_look_at_the_training_part_alone(shop: Shop) -> None:
    dataset, training = shop.dataset, shop.blocks.towers
    events = dataset.events
    earlier = replace(dataset, events=events.where(events.at < training.at.max()))
    short = Shop(earlier, shop.blocks, shop.encoded)
    # positions in the history move when later events go, the pasts stay
    first = earlier.history.member_ptr[training.member]
    length = training.history_end - dataset.history.member_ptr[training.member]
    net = short.bare(SMALL)
    standardise(net, short.resident, replace(training, history_end=first + length))
    for name, value in shop.net(SMALL).named_buffers():
        assert torch.equal(dict(net.named_buffers())[name], value), name


def test_a_net_of_another_size_has_the_fields_of_its_data(shop: Shop, endless: Shop) -> None:
    for some in (shop, endless):
        net: TwoTowerNet = some.net(SMALL)
        assert len(net.sale_input.content.scale) == len(some.encoded.sales.fields)
        assert net.table.shape == (len(some.resident.used), 16)
