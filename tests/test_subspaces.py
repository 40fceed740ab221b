"""Invariances in subspaces: the loss, its masks, what is read from features, and the studies, small."""
import numpy as np
import pytest
import torch

import mrpbook as mb
from mrpbook.images import subspaces as own
from mrpbook.studies import pictures
from mrpbook.studies import subspaces as studies


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(K=3, seed=0):
    return own.Encoder((8, 16, 16, 6), K, seed)


def test_one_mask_of_ones_gives_the_loss_of_vicreg():
    net, x, y, w = encoder(), normal(64, 8), normal(64, 8, seed=1), own.Weights(beta=0)
    found = own.loss(net, torch.ones(1, 6), x, [y], w)
    a, b = net(torch.cat([x, y])).split(64)
    total = w.lam * (a - b).square().mean()
    for z in (a, b):
        C = torch.cov(z.T)
        total += w.mu / 2 * torch.stack([(1 - (v + 1e-4).sqrt()).relu() for v in C.diagonal()]).mean()
        total += w.nu * sum(C[i, j] ** 2 for i in range(6) for j in range(6) if i != j) / 6
    assert torch.allclose(found, total, rtol=1e-4)


def test_the_loss_is_the_mean_over_masks_and_the_penalty_is_added_once():
    net, x, views = encoder().eval(), normal(64, 8), [normal(64, 8, seed=s) for s in (1, 2)]
    m = torch.rand(2, 6, generator=torch.Generator().manual_seed(3))
    alone = [own.loss(net, m[k:k + 1], x, [views[k]], own.Weights(beta=0)) for k in range(2)]
    both = own.loss(net, m, x, views, own.Weights(beta=7))
    assert torch.allclose(both, sum(alone) / 2 + 7 * m.mean(), rtol=1e-5)


def test_a_closed_feature_costs_its_hinge_and_asks_for_nothing():
    z = normal(4000, 5)
    z = (z - z.mean(0)) / z.std(0)
    m = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0])
    assert own.hinge(z * m) == pytest.approx((1 - 0.01) / 5, abs=1e-3) and own.hinge(z) == 0
    assert own.distance(z * m, torch.where(m == 1, z, normal(4000, 5, seed=1)) * m).max() == 0


def test_repeated_features_cost_covariance_and_independent_ones_next_to_none():
    z = normal(4000, 1)
    assert own.covariance(z.expand(-1, 4)) == pytest.approx(3, rel=0.15)
    assert own.covariance(normal(4000, 4)) < 0.01


def test_doubt_takes_weight_from_a_pair_and_must_pay_for_it():
    net, x, y = encoder(1).eval(), normal(64, 8), normal(64, 8, seed=1)
    sure, doubting = (own.Weights(mu=0, nu=0, beta=0, tau=tau) for tau in (None, 0.5))
    with torch.no_grad():
        net.head.bias.fill_(1.0)
    s = torch.nn.functional.softplus(torch.tensor(1.0))
    plain, weighed = (own.loss(net, torch.ones(1, 6), x, [y], w).item() for w in (sure, doubting))
    assert weighed == pytest.approx(float((-s).exp()) * plain + 25 * 0.5 * float(s), rel=1e-4)


def test_features_are_standardised_so_that_no_mask_is_undone_by_scale():
    net, x = encoder(), normal(256, 8)
    with torch.no_grad():
        net.last.weight.mul_(100)
    h = net(x)
    assert torch.allclose(h.std(0), torch.ones(6), atol=0.01) and h.mean(0).abs().max() < 1e-4


class Plain(own.Encoder):
    """Features are the input."""

    def forward(self, x):
        return x


@pytest.mark.parametrize("rho, beta", [(0.05, 0.0), (0.5, 0.0), (1.0, 10.0), (1.0, 30.0)])
def test_the_best_mask_is_the_one_a_search_finds(rho, beta):
    h, new = ((z - z.mean()) / z.std() for z in (normal(4000, 1), normal(4000, 1, seed=1)))
    w, other = own.Weights(nu=0, beta=beta), (1 - rho) * h + (1 - (1 - rho) ** 2) ** 0.5 * new
    grid = torch.linspace(0, 1, 101)
    cost = torch.stack([own.loss(Plain((1, 2, 1), 1, 0), m.reshape(1, 1), h, [other], w) for m in grid])
    assert float(own.best_masks(torch.tensor([[rho]]), w)) == pytest.approx(float(grid[cost.argmin()]), abs=0.03)


def test_shares_are_one_for_what_is_drawn_anew_and_zero_for_what_stays():
    h, new = normal(20_000, 2), normal(20_000, 2, seed=1)
    found = own.shares(h, [torch.stack([new[:, 0], h[:, 1]], 1), 0.5 * h + 0.75**0.5 * new])
    assert torch.allclose(found, torch.tensor([[1.0, 0.0], [0.5, 0.5]]), atol=0.03)


def test_overlap_is_of_what_masks_close():
    m = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]])
    assert torch.allclose(own.overlap(m), torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    assert (own.overlap(torch.ones(2, 4)) == 1).all()


def test_least_squares_reads_what_is_linear_and_nothing_from_noise_or_from_no_features():
    h = normal(3000, 4)
    y = h @ normal(4, 2, seed=1) + 3
    assert own.linear_r2(h, y, 1500) > 0.999
    assert abs(own.linear_r2(normal(3000, 4, seed=2), y, 1500)) < 0.02
    assert abs(own.linear_r2(h[:, :0], y, 1500)) < 0.01


def test_a_picture_moves_right_and_down_turns_and_dims():
    p = torch.zeros(1, 1, 8, 8)
    p[0, 0, 3, 2] = 1
    still, none, full = torch.zeros(1, 2), torch.zeros(1), torch.ones(1)
    assert own.moved(p, torch.tensor([[2.0, 1.0]]), none, full)[0, 0, 4, 4] == pytest.approx(1, abs=1e-5)
    assert own.moved(p, still, full * torch.pi / 2, full)[0, 0, 2, 4] == pytest.approx(1, abs=1e-4)
    assert torch.allclose(own.moved(p, still, none, 0.5 * full), 0.5 * p, atol=1e-6)


def test_masks_of_a_number_other_than_the_batches_and_bad_weights_are_named():
    with pytest.raises(ValueError, match="changed: 1 batches for 2 masks"):
        own.loss(encoder(), torch.ones(2, 6), normal(8, 8), [normal(8, 8)], own.Weights())
    with pytest.raises(ValueError, match="tau = 0"):
        own.Weights(tau=0)
    with pytest.raises(ValueError, match="kind = 'x'"):
        studies.plan("x", 3, 24, 0)


def test_fixed_masks_do_not_learn_and_disjoint_ones_share_no_feature():
    _, fixed = studies.plan("disjoint", 3, 24, 0)
    assert (fixed.sum(0) == 1).all() and (fixed.sum(1) == 8).all()
    masks = own.Masks(3, 6, 0, fixed=torch.ones(3, 6))
    own.train(encoder(), masks, lambda step: (normal(32, 8), [normal(32, 8, seed=step)] * 3), own.Weights(), 3)
    assert (masks() == 1).all()


def test_an_augmentation_draws_its_own_style_and_leaves_the_rest():
    z, new = normal(5, 10), normal(5, 10, seed=1)
    out = studies.redrawn(z, new, [studies.STYLES[1]])
    assert torch.equal(out[:, 6:8], new[:, 6:8])
    assert torch.equal(out[:, :6], z[:, :6]) and torch.equal(out[:, 8:], z[:, 8:])


def test_what_is_observed_can_be_undone():
    z = normal(4000, 10)
    x = studies.observed(z, 3)
    assert x.shape == (4000, 32) and own.linear_r2(x, z, 2000) < 0.97  # crooked, so not by a line
    g = mb.rng.generator(3, "subspaces: observed")
    first, *turns = (torch.from_numpy(np.linalg.qr(g.standard_normal((32, 32)))[0]).float() for _ in range(3))
    for turn in reversed(turns):
        x = x @ turn.T
        x = torch.where(x < 0, 5 * x, x)
    assert torch.allclose(x @ first[:10].T / 1.8, z, atol=1e-3)


def test_learned_masks_keep_styles_that_vicreg_loses_and_shut_each_out_of_its_subspace():
    masks, composed = (studies.synthetic(3, kind, steps=150, tests=1000) for kind in ("masks", "composed"))
    assert np.mean(masks["styles"]) > np.mean(composed["styles"]) + 0.4
    inside = np.array(masks["inside"])[:, 1:]
    assert np.diag(inside).mean() + 0.3 < inside[~np.eye(3, dtype=bool)].mean()


def test_a_draw_depends_on_its_seed_alone():
    one, again, other = (studies.synthetic(s, steps=3, tests=200)["styles"] for s in (1, 1, 2))
    assert one == again != other


def test_without_a_trace_spoiled_pictures_are_doubted_as_much_as_others():
    found = {trace: studies.synthetic(3, steps=100, size=128, tests=2000, spoiled=0.4, tau=0.06, trace=trace)["doubt"]
             for trace in (True, False)}
    assert abs(found[False]) < 0.02 < 0.1 < found[True]


def test_digits_are_read_from_pixels_and_features_alike():
    found = studies.digits(3, steps=3)
    assert found["raw"][0] > 0.2 and min(found["raw"][1:]) > 0.5 and found["overlap"].shape == (3, 3)
    assert found["accuracy"] > 0.15 and np.shape(found["inside"]) == (3, 4)


def test_hiding_keeps_half_of_the_patches_or_all_but_one_view():
    m = mb.MultiView(mu=0.0)
    S, g = m.sample(50, 3), np.random.default_rng(0)
    assert (studies.kept(S, "noise", m, g) == 1).all() and (studies.kept(S, "patches", m, g).sum(1) == 8).all()
    gone = torch.where(studies.kept(S, "view", m, g) == 0, S.patch_semantic, -1)
    for row, y in zip(gone, S.y, strict=True):
        assert (row >= 0).sum() == 4 and row.unique().numel() == 2 and row.max() // 2 == y


def test_views_hidden_by_coin_toss_do_not_agree_along_their_difference():
    m = mb.MultiView(mu=0.0, noise=0.0, s=0.0)
    S, g = m.sample(3000, 3), np.random.default_rng(0)
    V = m.semantics(3)
    a, b = (studies.pooled(S, studies.kept(S, "view", m, g), 3, i, noise=0.0) @ V.T for i in range(2))
    assert studies.agreement(a, b, 1) > 0.95 and abs(studies.agreement(a, b, -1)) < 0.03


def test_views_are_no_distance_apart_if_features_know_only_the_class_and_one_if_all_groups_are_equally_far():
    g = torch.Generator().manual_seed(5)
    y, strong = torch.randint(10, (4000,), generator=g), torch.randint(2, (4000,), generator=g)
    noise = 0.3 * normal(4000, 20)
    alike, apart = (torch.eye(20)[g] + noise for g in (y, 2 * y + strong))
    assert studies.apart(alike, y, strong) < 0.15
    assert studies.apart(apart, y, strong) == pytest.approx(1, abs=0.1)


def test_doubts_tell_hard_pictures_and_far_ones_from_chance():
    n = 4000
    moves, gains, wrong = normal(n).abs(), torch.rand(n, generator=torch.Generator().manual_seed(1)), torch.arange(n) % 3 == 0
    lot = normal(n, seed=2)
    found = studies.doubts([moves.square(), wrong + 0.0, lot], [wrong] * 3, [gains, -1.0 * wrong, gains], [moves] * 3)
    assert found["moved"][0] == pytest.approx(1) and abs(found["moved"][2]) < 0.05
    assert found["hard"][1] == found["dark"][1] == 1
    assert found["hard"][0] == pytest.approx(0.5, abs=0.03) and found["dark"][0] == pytest.approx(0.5, abs=0.03)


def test_some_pictures_are_a_lot_with_their_labels_and_all_of_them_without_a_number():
    (x, test), (train_part, _) = pictures.tensors(), pictures.data()
    some, labels, less, truth = studies.some_pictures("digits", 100)
    assert (len(some), len(labels), len(less), len(truth)) == (100, 100, 50, 50)
    for i in (0, 57):
        at = (x == some[i]).flatten(1).all(1).nonzero()[0]
        assert labels[i] == train_part.labels[at]
    everything = studies.some_pictures("digits", None)
    assert torch.equal(everything[0], x) and torch.equal(everything[2], test)


def test_doubt_is_reported_with_tau_alone_and_changes_nothing_that_is_read_of_the_untrained():
    plain = studies.digits(3, "untrained", steps=0)
    with_tau = studies.digits(3, "untrained", steps=0, tau=0.1)
    assert "hard" not in plain and len(with_tau["hard"]) == 3
    assert plain["accuracy"] == with_tau["accuracy"] and plain["inside"] == with_tau["inside"]
