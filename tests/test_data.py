"""The data model: its conditions, its errors, its reproducibility."""

import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mrpbook import reference
from mrpbook.data import MultiView, Sample, TheoryWarning


def quietly(**parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TheoryWarning)
        return MultiView(**parameters)


@st.composite
def models(draw):
    """Legal parameters."""
    k, views, C_p = draw(st.integers(2, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    room = draw(st.integers(0, 3))
    extra = draw(st.integers(0, C_p - 1))
    low = draw(st.floats(0.1, 1))
    return quietly(
        k=k,
        views=views,
        C_p=C_p,
        d=views * k + draw(st.integers(0, 5)),
        P=C_p * (views + room) + extra,
        s=draw(st.floats(0, 1)) * min(k, room * k / (views * (k - 1))),
        mu=draw(st.floats(0, 1)),
        rho=draw(st.floats(0.01, 1)),
        Gamma=draw(st.floats(0.05, 1)),
        gamma=draw(st.sampled_from([0.0, 0.05])),
        noise=draw(st.sampled_from([0.0, 0.1])),
        own=(low, low + draw(st.floats(0, 1))),
        off=(0.2, 0.2 + draw(st.floats(0, 1))),
    )


def broken(model, S: Sample) -> set[str]:
    rows = zip(S.y, S.strong, S.strengths, S.patch_semantic, S.z, strict=True)
    return {name for y, strong, *arrays in rows
            for name in reference.broken_conditions(model, int(y), int(strong), *(a.numpy() for a in arrays))}


@given(models(), st.integers(0, 1000))
def test_every_sample_meets_every_condition_of_the_definition(model, seed):
    S = model.sample(40, seed)
    assert broken(model, S) == set()
    assert torch.equal(S.single, S.strong >= 0)
    assert S.y.min() >= 0 and S.y.max() < model.k
    assert S.X.shape == (40, model.P, model.d) and S.strengths.shape == (40, model.n)


@given(models(), st.integers(0, 1000))
def test_the_plainly_written_sampler_meets_the_same_conditions(model, seed):
    V, rng = model.semantics(seed).double().numpy(), np.random.default_rng(seed)
    for _ in range(5):
        _, *rest = reference.draw_sample(model, V, rng)
        assert reference.broken_conditions(model, *rest) == []


def test_the_list_of_conditions_notices_every_kind_of_damage():
    model = MultiView(mu=1.0)
    S = model.sample(1, 0)
    args = [S.strengths[0].numpy(), S.patch_semantic[0].numpy(), S.z[0].numpy()]

    def found(strong=None, **changed):
        strengths, semantic, z = (changed.get(n, a) for n, a in zip(("strengths", "semantic", "z"), args, strict=True))
        strong = int(S.strong[0]) if strong is None else strong
        return reference.broken_conditions(model, int(S.y[0]), strong, strengths, semantic, z)

    assert found() == []
    held = np.flatnonzero(args[1] >= 0)
    moved = args[1].copy()
    moved[held[0]] = -1
    assert found(semantic=moved)  # a patch lost
    assert found(z=args[2] * 1.1) and found(strengths=args[0] * 1.5)
    assert "own" in found(strong=1 - int(S.strong[0]))  # the other view called strong
    assert found(strong=5)


@settings(max_examples=10)
@given(models(), st.integers(0, 1000))
def test_a_patch_without_noise_is_its_strength_times_its_semantic(model, seed):
    model = quietly(**{**vars(model), "noise": 0.0})
    S, V = model.sample(20, seed), model.semantics(seed)
    there = (S.patch_semantic[..., None] == torch.arange(model.n)).float()
    rest = (S.X - S.z[..., None] * (there @ V)) @ V.T  # coefficients of the semantics, minus the patch's own
    assert rest.min() > -1e-5 and rest.max() < model.gamma + 1e-5
    assert (rest.std() > 0.2 * model.gamma) if model.gamma else (rest.abs().max() < 1e-5)
    beside = S.X - (S.X @ V.T) @ V
    assert beside.abs().max() < 1e-5


def test_patch_noise_has_the_variance_that_is_said_in_every_direction():
    model = MultiView(noise=0.3, d=40)
    S, V = model.sample(3000, 3), model.semantics(3)
    there = (S.patch_semantic[..., None] == torch.arange(model.n)).float()
    xi = (S.X - S.z[..., None] * (there @ V)).reshape(-1, model.d)
    assert xi.norm(dim=1).pow(2).mean().sqrt().item() == pytest.approx(0.3, rel=0.01)
    cov = xi.T @ xi / len(xi) * model.d / 0.09
    assert (cov - torch.eye(model.d)).abs().max() < 5 * math.sqrt(2 / len(xi))


@pytest.fixture(scope="module")
def two_samplers():
    """4000 samples of the package and 4000 of the reference: (y, strong, strengths, x) each."""
    model = MultiView(k=3, d=8, P=9, C_p=2, s=0.7, mu=0.4, noise=0.2, gamma=0.02)
    S, V = model.sample(4000, 1), model.semantics(1).double().numpy()
    rng = np.random.default_rng(0)
    x, *rest = (np.stack(c) for c in zip(*(reference.draw_sample(model, V, rng) for _ in range(4000)), strict=True))
    return [a.numpy() for a in (S.y, S.strong, S.strengths, S.X)], [*rest[:3], x]


@pytest.mark.parametrize("name", ["presence", "strength", "squares"])
def test_it_is_the_distribution_of_the_plainly_written_sampler(name, two_samplers):
    """Two independent samplers, one distribution: means per class and kind agree within five standard errors."""

    def statistics(y, strong, strengths, x):
        classes = np.eye(3)[y]
        kinds = np.eye(3)[strong + 1]
        groups = (classes[:, :, None] * kinds[:, None]).reshape(len(y), -1)
        value = {"presence": strengths > 0, "strength": strengths, "squares": (x**2).sum(1)}[name].astype(float)
        return (groups[:, :, None] * value[:, None]).reshape(len(y), -1)

    a, b = (statistics(*columns) for columns in two_samplers)
    error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b)) + 1e-9
    assert np.abs((a.mean(0) - b.mean(0)) / error).max() < 5


@pytest.mark.parametrize("mu", [0.0, 0.25, 1.0])
def test_the_share_of_single_view_samples_is_mu_and_both_views_are_strong_equally_often(mu):
    S = MultiView().sample(4000, 5, mu=mu)
    assert abs(S.single.double().mean() - mu) <= 4 * math.sqrt(mu * (1 - mu) / 4000)
    strong = S.strong[S.single]
    assert len(strong) == 0 or abs((strong == 0).double().mean() - 0.5) < 2.5 / math.sqrt(len(strong))
    counts = torch.bincount(S.y, minlength=10)
    assert ((counts - 400).abs() < 4 * math.sqrt(400)).all()


@pytest.mark.parametrize("s, P", [(0.5, 16), (1.0, 16), (1.6, 20)])
def test_dropped_predicts_how_many_semantics_find_no_patches(s, P):
    model = MultiView(s=s, P=P)
    S = model.sample(8000, 2)
    kept = (S.strengths > 0).sum(1).double() - model.views
    asked = s / model.k * model.views * (model.k - 1)
    assert kept.max() == model.room
    assert abs(asked - kept.mean() - model.dropped) < 5 * kept.std() / math.sqrt(8000)


def test_what_is_dropped_is_drawn_without_favour():
    model = MultiView(s=0.55, P=12)  # room for one
    assert model.dropped > 0.3
    S = model.sample(20000, 2)
    counts = (S.strengths > 0).double().sum(0)
    assert (counts / counts.mean() - 1).abs().max() < 5 * math.sqrt(1 / counts.mean())


def test_samples_depend_on_seed_and_purpose_and_on_nothing_else():
    model = MultiView()
    a, b = model.sample(30, 7, "train"), model.sample(30, 7, "train")
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))
    assert torch.equal(model.semantics(7), MultiView().semantics(7))
    for other in (model.sample(30, 8, "train"), model.sample(30, 7, "test")):
        assert not torch.equal(a.y, other.y) and not torch.equal(a.X, other.X)
    assert torch.equal(model.semantics(7), model.but(noise=0.5, P=20).semantics(7))


@given(st.integers(0, 10**6))
def test_semantics_are_orthonormal(seed):
    V = MultiView(k=4, d=11).semantics(seed)
    assert (V @ V.T - torch.eye(8)).abs().max() < 1e-5


def test_semantics_prefer_no_direction():
    first = torch.stack([MultiView(k=2, d=4, P=8, C_p=2, s=0.5).semantics(seed)[0] for seed in range(800)])
    assert first.mean(0).abs().max() < 4 / math.sqrt(4 * 800)
    assert ((first**2).mean(0) - 0.25).abs().max() < 0.06


def test_part_of_a_sample_keeps_its_rows_together():
    S = MultiView(mu=0.5).sample(50, 1)
    for index in (slice(3, 9), S.single, [4, 2]):
        T = S.select(index)
        assert torch.equal(T.X, S.X[index]) and torch.equal(T.y, S.y[index]) and len(T) == len(S.y[index])
        assert torch.equal(T.patch_semantic, S.patch_semantic[index])
    T = S.to(dtype=torch.float64)
    assert T.X.dtype == torch.float64 and torch.equal(T.y, S.y)


@pytest.mark.parametrize("N, mu, name", [(0, 0.0, "N = 0"), (3, 1.5, "mu = 1.5"), (3, -0.1, "mu = -0.1")])
def test_a_sample_of_no_size_or_with_a_share_outside_0_to_1_is_refused(N, mu, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        MultiView().sample(N, 0, mu=mu)


WRONG = {
    "k": (st.integers(-5, 1), "an integer >= 2"),
    "views": (st.integers(-5, 0), "an integer >= 1"),
    "d": (st.integers(-5, 0), "an integer >= 1"),
    "P": (st.integers(-5, 0), "an integer >= 1"),
    "C_p": (st.integers(-5, 0), "an integer >= 1"),
    "s": (st.floats(max_value=-1e-9) | st.floats(10.01), "[0, 10]"),
    "mu": (st.floats(max_value=-1e-9) | st.floats(1.0001) | st.just(math.nan), "[0, 1]"),
    "rho": (st.floats(max_value=0) | st.floats(1.0001) | st.just(math.nan), "(0, 1]"),
    "Gamma": (st.floats(max_value=-1e-9) | st.just(math.inf), "[0, inf)"),
    "gamma": (st.floats(max_value=-1e-9) | st.just(math.nan), "[0, inf)"),
    "noise": (st.floats(max_value=-1e-9) | st.just(math.inf), "[0, inf)"),
}


@pytest.mark.parametrize("name", WRONG)
@given(data=st.data())
def test_a_parameter_outside_its_range_is_refused_by_name_value_and_range(name, data):
    values, allowed = WRONG[name]
    value = data.draw(values)
    with pytest.raises(ValueError) as error:
        MultiView(**{name: value})
    assert str(error.value).startswith(f"{name} = {value!r}: expected ") and allowed in str(error.value)


@pytest.mark.parametrize("name", ["own", "off"])
@given(low=st.floats(-2, 2), high=st.floats(-2, 2))
def test_a_range_of_strengths_must_be_positive_and_in_order(name, low, high):
    if (low > 0 or (low == 0 and name == "off")) and high >= low:
        assert getattr(quietly(**{name: (low, high)}), name) == (low, high)
    else:
        with pytest.raises(ValueError, match=name) as error:
            MultiView(**{name: (low, high)})
        assert "expected" in str(error.value)


@given(k=st.integers(2, 30), views=st.integers(1, 4), d=st.integers(1, 100))
def test_more_semantics_than_dimensions_are_refused(k, views, d):
    assume(views * k > d)
    with pytest.raises(ValueError, match=rf"views \* k = {views * k} semantics need d >= {views * k}.*d = {d}"):
        MultiView(k=k, views=views, d=d, P=100, s=0.0)


@given(views=st.integers(1, 4), C_p=st.integers(1, 6), P=st.integers(1, 23))
def test_too_few_patches_for_the_views_are_refused(views, C_p, P):
    assume(views * C_p > P)
    with pytest.raises(ValueError, match=rf"P = {P} .*P >= {views * C_p} is needed"):
        MultiView(views=views, C_p=C_p, P=P, s=0.0)


@given(k=st.integers(2, 12), C_p=st.integers(1, 5), room=st.integers(0, 3), share=st.floats(0.01, 1))
def test_too_few_patches_for_s_say_how_many_semantics_are_truncated_and_what_would_do(k, C_p, room, share):
    s, P = share * k, C_p * (2 + room)
    asked = s / k * 2 * (k - 1)
    assume(asked > room)
    with pytest.raises(ValueError) as error:
        quietly(k=k, C_p=C_p, P=P, s=s)
    found = re.search(r"s = \S+ asks for (\S+) .* P = (\d+) .* room for (\d+): (\S+) per .* P >= (\d+), or s <= (\S+)$",
                      str(error.value))
    m, p = 2 * (k - 1), s / k
    binomial = [math.comb(m, j) * p**j * (1 - p) ** (m - j) for j in range(m + 1)]
    truncated = sum(chance * max(j - room, 0) for j, chance in enumerate(binomial))
    assert float(found[1]) == pytest.approx(asked, abs=0.006)
    assert (int(found[2]), int(found[3])) == (P, room)
    assert float(found[4]) == pytest.approx(truncated, abs=0.006)
    quietly(k=k, C_p=C_p, P=int(found[5]), s=s)  # what is said to be allowed is
    quietly(k=k, C_p=C_p, P=P, s=float(found[6]) * 0.995)


@given(rho=st.floats(0.01, 1), Gamma=st.floats(0, 2))
def test_outside_the_theorys_order_there_is_a_warning_that_says_what_goes(rho, Gamma):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        MultiView(rho=rho, Gamma=Gamma)
    assert [w.category for w in seen] == ([TheoryWarning] if rho >= Gamma else [])
    assert all("no longer fails on single-view" in str(w.message) for w in seen)


@given(st.integers(max_value=-1))
def test_a_negative_seed_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed = {seed}: expected an integer >= 0"):
        MultiView().sample(1, seed)


def test_an_unnamed_purpose_is_refused():
    from mrpbook.rng import generator

    with pytest.raises(ValueError, match="purpose"):
        generator(0, "")
    with pytest.raises(ValueError, match="step = -1"):
        generator(0, "x", -1)
    assert generator(np.int64(3), "x").random() == generator(3, "x").random() != generator(3, "x", 1).random()
