"""Two views of a cause: what made them, and what an encoder of one holds."""
import numpy as np
import pytest
import torch

from mrpbook.hierarchy import identified
from mrpbook.rng import generator


def test_the_visible_view_can_be_undone_and_does_not_depend_on_the_part_it_is_drawn_for():
    data = identified.views(3, 500, "tests")
    assert torch.equal(data.visible, identified.seen(3, data.c, data.own_v))
    x, g = data.visible, generator(3, "identified: mixing visible")
    for layer, q in reversed(list(enumerate(np.linalg.qr(g.standard_normal((4, 4)))[0] for _ in range(3)))):
        x = x @ torch.from_numpy(q).float().T
        x = torch.where(x < 0, 5 * x, x) if layer else x
    assert torch.allclose(x, torch.cat([data.c, data.own_v], 1), atol=1e-3)
    assert not torch.equal(data.c, identified.views(3, 500, "training").c)


def test_random_signs_take_the_mean_away_and_nothing_of_the_cause():
    plain, signed = (identified.views(3, 50_000, "tests", kind) for kind in ("positive", "signs"))
    assert torch.equal(signed.hidden.abs(), plain.hidden) and torch.equal(signed.visible, plain.visible)
    assert torch.allclose(plain.hidden.logit(), plain.c, atol=1e-3)
    high = signed.c > 1
    assert signed.hidden[high].mean().abs() < 0.02 < 0.7 < plain.hidden[high].mean()


def test_the_mean_of_the_hidden_view_is_that_of_its_draws_for_one_cause():
    c = torch.tensor([[0.5, -1.0], [1.0, 0.0]])
    found = identified.mean_hidden(3, c, 1000)
    own = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    again = [identified.mixing(torch.cat([row.expand(20_000, 2), own], 1), 3, "hidden").mean(0) for row in c]
    assert torch.allclose(found, torch.stack(again), atol=0.1)


def test_nothing_shared_means_that_one_view_says_nothing_of_the_other():
    data = {kind: identified.views(3, 1500, "tests", kind) for kind in ("mixed", "nothing shared")}
    assert identified.explained(data["nothing shared"].visible, data["nothing shared"].hidden, 1000) < 0.05
    assert identified.explained(data["mixed"].visible, data["mixed"].hidden, 1000) > 0.3


def test_r_squared_is_near_one_for_a_function_and_near_zero_for_noise():
    x = torch.randn(1500, 2, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(1500, 2, generator=torch.Generator().manual_seed(1))
    assert identified.explained(x, x.tanh() + 0.3 * x.flip(1), 1000) > 0.97
    assert identified.explained(x, noise, 1000) < 0.05


def test_a_trained_code_tells_the_cause_and_an_untrained_one_does_not():
    data, new = (identified.views(3, n, part) for n, part in ((8000, "training"), (1500, "tests")))
    code, raw = (identified.encoder(3, data, steps=n)(new.visible).detach() for n in (500, 0))
    assert identified.explained(code, new.c, 1000) > 0.85 > 0.75 > identified.explained(raw, new.c, 1000)
    assert identified.explained(code, new.own_v, 1000) < 0.15


def test_an_encoder_depends_on_its_seed_alone():
    data = identified.views(3, 1000, "training")
    one, again, other = (identified.encoder(s, data, steps=5)(data.visible[:3]) for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind = 'x'"):
        identified.views(0, 10, "tests", "x")
