"""What kernels hold: equal to the plain definition, indifferent to scale and order."""

import warnings

import torch
from hypothesis import given
from hypothesis import strategies as st

from mrpbook import reference
from mrpbook.data import MultiView, TheoryWarning
from mrpbook.network import SmoothedReLU
from mrpbook.semantics import captured_semantics, first_time, fusion_time, holding

ACT = SmoothedReLU()


@st.composite
def states(draw):
    """(kernels near the thresholds [2, 3, K, d], model, semantics)."""
    k, views = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TheoryWarning)
        model = MultiView(k=k, views=views, d=views * k + 2, P=4 * views, s=0.0)
    rng = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    V = model.semantics(0)
    lam = torch.rand(2, 3, 7, model.n, generator=rng) ** 4 * 2.5 - 0.1
    return lam @ V + 0.01 * torch.randn(2, 3, 7, model.d, generator=rng), model, V


@given(states())
def test_captured_single_and_one_class_equal_the_plain_definition_of_each_kernel(state):
    w, model, V = state
    held = holding(w, V, model, ACT)
    for i, row in enumerate(w.flatten(0, 2)):
        at = tuple(int(j) for j in torch.unravel_index(torch.tensor(i), w.shape[:3]))
        found = (int(held.winner[at]), *(bool(x[at]) for x in (held.captured, held.single, held.one_class)))
        assert found == reference.what_a_kernel_holds(row.numpy(), V.numpy(), model.views, model.patch_strength)


def test_the_random_states_meet_every_case():
    """Otherwise the test above would compare little."""
    model = MultiView(k=3, d=8)
    V = model.semantics(0)
    lam = torch.rand(400, 6, generator=torch.Generator().manual_seed(0)) ** 4 * 2.5 - 0.1
    held = holding(lam @ V, V, model, ACT)
    cases = {(bool(c), bool(s), bool(o)) for c, s, o in zip(held.captured, held.single, held.one_class, strict=True)}
    assert cases == {(False, False, False), (True, False, False), (True, False, True), (True, True, True)}


@given(states(), st.floats(1.01, 50))
def test_scaling_a_kernel_up_changes_whether_it_is_captured_and_nothing_else(state, scale):
    w, model, V = state
    small, large = holding(w, V, model, ACT), holding(scale * w, V, model, ACT)
    assert torch.equal(small.winner, large.winner)
    assert (large.captured | ~small.captured).all()
    for name in ("single", "one_class"):
        assert torch.equal(getattr(small, name)[small.captured], getattr(large, name)[small.captured])


@given(states(), st.randoms(use_true_random=False))
def test_naming_classes_and_kernels_in_another_order_changes_names_only(state, random):
    w, model, V = state
    classes, order = list(range(model.k)), list(range(w.shape[2]))
    random.shuffle(classes)
    random.shuffle(order)
    renamed = V.view(model.k, model.views, -1)[classes].reshape(V.shape)
    a, b = holding(w, V, model, ACT), holding(w[:, :, order], renamed, model, ACT)
    for name in ("captured", "single", "one_class"):
        assert torch.equal(getattr(a, name)[:, :, order], getattr(b, name))
    back = torch.tensor([c * model.views + view for c in classes for view in range(model.views)])
    assert torch.equal(a.winner[:, :, order], back[b.winner])
    assert torch.equal(a.semantics[..., back], b.semantics)


@given(states())
def test_a_semantic_is_captured_when_some_captured_kernel_has_it_as_its_largest(state):
    w, model, V = state
    held = holding(w, V, model, ACT)
    for i in range(2):
        for t in range(3):
            pairs = zip(held.winner[i, t].tolist(), held.captured[i, t].tolist(), strict=True)
            expected = {j for j, captured in pairs if captured}
            assert set(held.semantics[i, t].nonzero()[:, 0].tolist()) == expected
    assert torch.equal(captured_semantics(held.winner, held.captured, model.n), held.semantics)


def test_single_is_lost_to_the_other_view_and_one_class_only_to_another_class():
    model = MultiView(k=2, d=4, P=8, s=0.0)
    V = model.semantics(1)
    lam = torch.tensor([[2, 0.5, 0, 0], [2, 0.7, 0, 0], [2, 0, 0, 0.7], [0.9, 0, 0, 0], [1.1, 0, 0, 0], [0, 0, 0, 0]])
    held = holding(lam @ V, V, model, ACT)
    assert held.captured.tolist() == [True, True, True, False, True, False]  # 0.275 x overlap >= 0.3
    assert held.single.tolist() == [True, False, False, False, True, False]
    assert held.one_class.tolist() == [True, True, False, False, True, False]


def test_the_first_time_is_the_first_and_inf_where_there_is_none():
    event = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 0, 1]]).bool()
    assert first_time(event, torch.tensor([1.0, 2.0, 5.0])).tolist() == [2, torch.inf, 1]


def test_the_fusion_time_is_when_enough_captured_kernels_stopped_being_single():
    model = MultiView(k=2, d=4, P=8, s=0.0)
    V, times = model.semantics(1), torch.arange(4.0)
    second = torch.tensor([[0.0, 0], [0.1, 0.1], [0.1, 1.0], [1.0, 1.0]])
    lam = torch.stack([torch.tensor([[0.5, 0.5], [2, 2], [2, 2], [2, 2]]), second, 0 * second, 0 * second], -1)
    held = holding(lam @ V, V, model, ACT)
    assert fusion_time(held, times) == fusion_time(held, times, share=0.5) == 2
    assert fusion_time(held, times, share=0.9) == 3
    assert fusion_time(holding(lam[:2] @ V, V, model, ACT), times[:2]) == torch.inf
