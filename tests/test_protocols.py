"""A reader's loss and sampler: what is asked of them, and the messages that say what is wrong."""
import pickle
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from objective_cases import Remembers, rewritten

import mrpbook as mb
from mrpbook import protocols, testbench

MODEL = mb.MultiView(noise=0.3)
ACT = mb.SmoothedReLU()


@pytest.fixture
def X():
    return MODEL.sample(40, 0).X


@pytest.fixture
def w():
    return mb.initial_kernels(8, MODEL.d, 0)


def agreement(w, X, act, masks):
    one, two = torch.einsum("cnp,npk->cnk", masks, act(X @ w.T))
    return -(one * two / (one * two).mean(0).detach().clamp_min(1e-12)).mean()


def entangled(w, X, act):
    h = act(X @ w.T).sum(1)
    return ((h / h.pow(2).mean(0).sqrt().detach()).sum(1) ** 2).mean()


def test_the_quick_activation_and_its_derivative_are_those_of_the_smoothed_relu():
    a = torch.linspace(-1, 2, 301, dtype=torch.float64)
    for q in (2, 3, 4):
        slow, quick = mb.SmoothedReLU(q=q), protocols.QuickReLU(q=q)
        b = a.clone().requires_grad_()
        torch.testing.assert_close(quick(b), slow(a))
        torch.testing.assert_close(torch.autograd.grad(quick(b).sum(), b)[0], slow.derivative(a))


def test_a_rewritten_loss_descends_as_the_built_in_objective_does(w, X):
    w = 20 * w  # at the start masks are not felt
    for theta in (0.9, 0.5):
        ours = testbench.Loss(partial(rewritten, theta=theta)).descent(w, X, ACT)
        torch.testing.assert_close(ours, mb.NormalisedTeacher(theta).descent(w, X, ACT), rtol=1e-4, atol=1e-7)
    other = mb.NormalisedTeacher(0.9).descent(w, X, ACT)
    assert (ours - other).norm() > 1e-4 * other.norm()


def test_masks_are_fresh_at_each_step_and_the_same_in_each_run(X):
    loss = testbench.Loss(agreement, theta=0.25, seed=3)
    first = loss.masks(400, 16)
    loss.step += 1
    assert first.shape == (2, 400, 16) and set(first.unique().tolist()) == {0, 1}
    assert abs(float(first.mean()) - 0.25) < 0.02 and not torch.equal(first[0], first[1])
    assert not torch.equal(first, loss.masks(400, 16)) and torch.equal(first, loss.fresh(3).masks(400, 16))
    assert not torch.equal(first, loss.fresh(4).masks(400, 16))


def test_every_step_of_descent_takes_the_next_masks(w, X):
    loss = testbench.Loss(agreement)
    one, two, again = loss.descent(w, X, ACT), loss.descent(w, X, ACT), loss.fresh(0).descent(w, X, ACT)
    assert torch.equal(one, again) and not torch.equal(one, two)


WRONG = {
    "shape (40,): expected one number": lambda w, X, act: act(X @ w.T).sum((1, 2)),
    "it returns a float": lambda w, X, act: act(X @ w.T).sum().item(),
    "no gradient reaches w": lambda w, X, act: act(X @ w.detach().T).sum(),
    "cut it": lambda w, X, act: X.sum().requires_grad_(),
    "not finite": lambda w, X, act: act(X @ w.T).sum() * torch.nan,
    "whose slope is infinite": lambda w, X, act: (0 * act(X @ w.T)).pow(2).sum().sqrt(),
    "exactly 0": lambda w, X, act: 0 * w.sum(),
}


@pytest.mark.parametrize("says", WRONG)
def test_a_loss_that_cannot_be_descended_gets_a_message_that_names_it_and_says_why(says, X):
    with pytest.raises(ValueError, match="objective 'mine'") as error:
        protocols.check_objective("mine", testbench.Loss(WRONG[says]), X, 8)
    assert says in str(error.value)


def test_an_error_inside_a_loss_keeps_its_own_message_and_says_what_it_was_called_with(X):
    with pytest.raises(RuntimeError, match="mat1 and mat2") as error:
        protocols.check_objective("mine", testbench.Loss(lambda w, X, act: (X @ w).sum()), X, 8)
    assert "objective 'mine', called with w [8, 60], X [40, 16, 60]" in error.value.__notes__[0]


@pytest.mark.parametrize("function", [lambda w, X: 0, lambda w, X, act, labels: 0, lambda: 0])
def test_a_function_with_other_arguments_is_refused(function):
    with pytest.raises(ValueError, match="expected \\(w, X, act\\) or \\(w, X, act, masks\\)"):
        testbench.Loss(function)


def test_a_loss_out_of_range_or_no_function_at_all_is_refused(unchecked):
    for wrong in (dict(theta=0.0), dict(theta=1.5), dict(rate=-1.0)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            testbench.Loss(agreement, **wrong)
    with pytest.raises(ValueError, match="function = 3"):
        testbench.Loss(3)


def test_coupling_is_measured_and_a_wrong_statement_of_independence_refuted(X):
    assert protocols.check_objective("a", testbench.Loss(entangled), X, 8)
    assert not protocols.check_objective("b", testbench.Loss(rewritten, independent=True), X, 8)
    with pytest.raises(ValueError, match="a change of one kernel changed the directions of the others"):
        protocols.check_objective("c", testbench.Loss(entangled, independent=True), X, 8)
    with pytest.raises(ValueError, match="depends on the step or the past"):
        protocols.check_objective("d", testbench.Loss(agreement, independent=True), X, 8)


def test_a_loss_that_is_not_stated_to_be_independent_gets_no_private_clocks(w, X):
    with pytest.raises(ValueError, match="a clock per kernel"):
        mb.pretrain.pretrain_along_arcs(testbench.Loss(rewritten), X, w)
    path = mb.pretrain.pretrain_along_arcs(testbench.Loss(rewritten, independent=True), X, w, steps=3)
    assert path.kernels.shape == (4, 8, 60)


def test_an_objective_without_descent_or_with_a_direction_of_another_shape_is_refused(X, unchecked):
    with pytest.raises(ValueError, match="int lacks descent or independent"):
        protocols.check_objective("mine", 3, X, 8)
    wrong = Remembers()
    wrong.descent = lambda w, X, act: w[0]
    with pytest.raises(ValueError, match="expected \\[K, d\\] = \\[8, 60\\]"):
        protocols.check_objective("mine", wrong, X, 8)


def test_an_objective_that_cannot_reach_another_process_is_refused(X):
    held = Remembers()
    held.file = (line for line in ())
    with pytest.raises(ValueError, match="cannot be sent to another process"):
        protocols.check_objective("mine", held, X, 8)


@dataclass(frozen=True)
class Sampler(mb.MultiView):
    fault: str = ""

    def semantics(self, seed):
        V = super().semantics(seed)
        return {"rows": V[:-1], "lengths": 2 * V}.get(self.fault, V)

    def sample(self, N, seed, purpose="train", *, mu=None):
        seed, purpose = {"one seed": (0, purpose), "one purpose": (seed, "train")}.get(self.fault, (seed, purpose))
        S = super().sample(N, seed, purpose, mu=mu)
        if self.fault == "no key":
            S.X.add_(torch.rand(()))
        elif self.fault == "nan":
            S.X[0] = torch.nan
        elif self.fault == "labels":
            S.y.add_(5)
        return S


FAULTS = {"rows": "semantics has shape (19, 60): expected [n, d] = [20, 60]",
          "lengths": "semantics have lengths 2 to 2: expected 1",
          "one seed": "two seeds gave the same sample", "one purpose": "tests would repeat the training data",
          "no key": "the same seed and purpose gave two samples", "nan": "of it not finite", "labels": "integers in [0, 10)"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sampler_that_is_not_what_it_must_be_is_refused(fault):
    protocols.check_model(Sampler())
    with pytest.raises(ValueError, match="sampler Sampler") as error:
        protocols.check_model(Sampler(fault=fault))
    assert FAULTS[fault] in str(error.value)


def test_a_sampler_that_lacks_something_is_told_all_that_it_lacks(unchecked):
    with pytest.raises(ValueError, match="sampler dict lacks k, views, n, d, patch_strength, semantics, sample; DataModel"):
        protocols.check_model({})


def test_a_loss_of_a_notebook_cell_reaches_the_workers(w, X):
    scope = {"torch": torch}
    exec("def helper(a):\n    return a.sum(1)\ndef cell(w, X, act):\n    h = helper(act(X @ w.T))\n"
         "    return -(h / h.pow(2).mean(0).sqrt().detach()).pow(2).mean()", scope)
    for function in ("helper", "cell"):
        scope[function].__module__ = "__main__"
    sent = protocols.reduction.dumps(testbench.Loss(scope["cell"]))  # what joblib does
    here = testbench.Loss(scope["cell"]).descent(w, X, ACT)
    scope.clear()
    torch.testing.assert_close(pickle.loads(sent).descent(w, X, ACT), here)
