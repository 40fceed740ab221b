"""Deliberate mistakes, each of which a named check must notice: who tests the tests."""

from dataclasses import replace

import pytest
import test_data
import test_gradients
import test_objectives
import test_pretrain
import test_semantics
import test_supervised
import torch

from mrpbook import blocks, data, gradients, objectives, pretrain, supervised
from mrpbook.data import MultiView
from mrpbook.network import SmoothedReLU
from mrpbook.objectives import MaskedObjective, NormalisedTeacher, RescaledTeacher

MUTATIONS = {}

random = torch.Generator().manual_seed(0)
MODEL = MultiView(mu=0.5)
CASE = (NormalisedTeacher(0.8), torch.randn(3, 4, generator=random).double(),
        torch.randn(4, 6, 4, generator=random).double(), SmoothedReLU())
OVERLAPS = torch.rand(2, 3, 40, MODEL.n, generator=random) ** 4 * 2.5
STATE = (OVERLAPS @ MODEL.semantics(0), MODEL, MODEL.semantics(0))
SHAPE = dict(N=7, P=3, K=4, d=5, block=2, width=3, kind=NormalisedTeacher, compiled=None, seed=0)


def mistake(check, *arguments, **named):
    """A function that makes a mistake (with monkeypatch), and the check that must fail then; of a check by hypothesis
    one case, since searching and simplifying a failure takes long.
    """
    if hasattr(check, "hypothesis"):
        check = check.hypothesis.inner_test

    def keep(function):
        MUTATIONS[function.__name__] = (function, check, arguments, named)
        return function

    return keep


@mistake(test_objectives.test_the_closed_form_equals_the_mean_over_all_masks_of_ten_patches, RescaledTeacher, "bernoulli")
def the_mask_is_inverted(patch):
    patch.setattr(MaskedObjective, "weights", lambda self, P: (self.c * (1 - self.theta), self.c * self.theta))


@mistake(test_objectives.test_the_closed_form_equals_the_mean_over_all_masks_of_ten_patches, NormalisedTeacher, "bernoulli")
def the_factor_of_the_decoder_is_dropped(patch):
    patch.setattr(MaskedObjective, "c", property(lambda self: 1.0))


@mistake(test_objectives.test_the_closed_form_equals_the_mean_over_all_masks_of_ten_patches, NormalisedTeacher, "fixed count")
def a_fixed_count_is_taken_for_independent_masks(patch):
    patch.setattr(MaskedObjective, "weights", lambda self, P: (self.c * self.theta, self.c * (1 - self.theta)))


@mistake(test_objectives.test_the_direction_is_minus_autograds_gradient_with_the_target_held_fixed,
         (RescaledTeacher(0.8), *CASE[1:]))
def the_target_lets_a_gradient_through(patch):
    patch.setattr(torch.Tensor, "detach", lambda self: self)


@mistake(test_objectives.test_the_normalised_target_has_mean_square_A_squared_unless_the_kernel_is_silent, CASE)
def the_normalised_target_divides_by_the_mean_square(patch):
    patch.setattr(NormalisedTeacher, "scale", lambda self, square: self.A / square.clamp_min(1e-38))


@mistake(test_data.test_every_sample_meets_every_condition_of_the_definition, MODEL, 0)
def a_view_is_dropped(patch):
    original = MultiView._strengths

    def without_the_last(self, rng, y, single, strong):
        strengths = original(self, rng, y, single, strong)
        strengths[range(len(y)), y * self.views + self.views - 1] = 0
        return strengths

    patch.setattr(MultiView, "_strengths", without_the_last)


@mistake(test_data.test_every_sample_meets_every_condition_of_the_definition, MODEL, 0)
def the_weak_view_is_as_strong_as_the_other(patch):
    original = MultiView._strengths
    patch.setattr(MultiView, "_strengths", lambda self, rng, y, single, *rest: original(self, rng, y, single & False, *rest))


@mistake(test_data.test_patch_noise_has_the_variance_that_is_said_in_every_direction)
def the_noise_is_not_divided_by_the_root_of_d(patch):
    patch.setattr(MultiView, "sigma_p", property(lambda self: self.noise))


@mistake(test_data.test_samples_depend_on_seed_and_purpose_and_on_nothing_else)
def training_and_test_data_share_their_numbers(patch):
    original = data.generator
    patch.setattr(data, "generator", lambda seed, purpose, step=0: original(seed, "everything", step))


@mistake(test_semantics.test_captured_single_and_one_class_equal_the_plain_definition_of_each_kernel, STATE)
def the_third_largest_overlap_is_taken_for_the_second(patch):
    original = test_semantics.holding

    def third(w, V, model, act):
        held = original(w, V, model, act)
        top = held.overlaps.topk(3).values
        return replace(held, single=held.captured & (top[..., 2] < 0.3 * top[..., 0]))

    patch.setattr(test_semantics, "holding", third)


@mistake(test_gradients.test_shapes_of_any_kind_give_the_readable_form, **SHAPE)
def the_last_incomplete_block_is_forgotten(patch):
    original = blocks.Blocks.spans

    def whole_blocks(self):
        return (span for span in original(self) if span[0].stop - span[0].start == self.block)

    patch.setattr(blocks.Blocks, "spans", whole_blocks)


@mistake(test_gradients.test_shapes_of_any_kind_give_the_readable_form, **SHAPE)
def each_block_is_normalised_on_its_own(patch):
    def per_block(self, b, w):
        alpha, beta = self.weights
        parts = [h * (self.objective.scale((h**2).mean(0) * self.act.varrho**2) - alpha) for h in b.answer(w).split(b.block)]
        return b.pull(torch.cat(parts), beta)

    patch.setattr(gradients.Descent, "_pull", per_block)


@mistake(test_pretrain.test_paths_along_arcs_pass_where_plain_descent_is_at_the_recovered_time, RescaledTeacher(0.75))
def steps_are_counted_instead_of_time(patch):
    original = pretrain.pretrain_along_arcs

    def by_steps(*args, **settings):
        path = original(*args, **settings)
        clock = torch.arange(len(path.times)).double() * path.times[-1].min() / len(path.times)
        return replace(path, times=clock[:, None].expand(path.times.shape).contiguous())

    patch.setattr(test_pretrain, "pretrain_along_arcs", by_steps)


@mistake(test_supervised.test_silence_is_an_error_for_every_class)
def a_tie_counts_as_correct(patch):
    original = supervised.margins
    patch.setattr(supervised, "margins", lambda scores, y: original(scores, y) + 1e-9)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_is_noticed_by_the_check_that_names_it(name, monkeypatch):
    mutate, check, arguments, named = MUTATIONS[name]
    check(*arguments, **named)  # it passes on the package as it is
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check(*arguments, **named)


def test_the_package_was_put_right_again():
    assert MaskedObjective(0.5).c == 2 and objectives.PlainDecoder(0.5).weights(4) == (0.5, 0.5)
