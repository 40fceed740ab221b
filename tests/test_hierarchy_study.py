"""The studies of hierarchical latents, small."""
import pytest

from mrpbook.hierarchy import identified
from mrpbook.hierarchy.graphs import shared
from mrpbook.studies import hierarchy


def test_searches_are_those_of_its_seeds():
    found = hierarchy.searches(5, 4)
    assert [int(x) for x in found["size"]] == [hierarchy.searched(5 + i)["size"] for i in range(4)]
    assert not found["differs"].any() and not found["exchanged"].any() and (found["admissible"] >= 1).all()


@pytest.mark.parametrize("unit, level", [(1, 1), (4, 3), (16, 5)])
def test_a_single_hidden_unit_shares_the_latent_right_above_it(unit, level):
    found = hierarchy.heights(3, (1 / 256 * unit,), unit)
    assert found["height"] == [level] and found["size"] == [1]


def test_ratios_that_hide_no_whole_number_of_units_are_refused():
    with pytest.raises(ValueError, match=r"unit = 16, ratios = \(0.1,\)"):
        hierarchy.heights(3, (0.1,), 16)
    with pytest.raises(ValueError, match="unit = 3"):
        hierarchy.heights(3, (0.5,), 3)


def test_levels_are_read_less_from_less():
    found = hierarchy.levels(3, (0.25, 0.95), 1)
    assert found["readout"].shape == (2, 3) and (found["readout"][0] > found["readout"][1]).all()
    assert found["share"] == pytest.approx([16 / 64, 61 / 64]) and found["directions"][1] <= 3 < found["directions"][0]
    assert found["explained"][0] > found["explained"][1] > 0


def test_the_example_is_no_tree_and_its_places_are_above_their_children():
    graph, place = hierarchy.example()
    assert max(map(len, graph.parents)) == 2 and len(place) == len(graph.parents)
    assert all(place[p, 1] > place[v, 1] for v, given in enumerate(graph.parents) for p in given)
    assert shared(graph, [8]) == {3, 4}


def test_an_autoencoder_comes_nearer_to_the_exact_mean_with_more_steps():
    short, longer = (hierarchy.conditional(3, steps=n, N=3000) for n in (5, 60))
    assert longer["excess"] < 0.7 * short["excess"]
    assert longer["least"] == short["least"]
    assert longer["error"] == pytest.approx(longer["least"] * (1 + longer["excess"]), rel=0.15)


def test_identification_counts_both_ways():
    found = hierarchy.identified(3, steps=50, N=2000, tests=300)
    new = identified.views(3, 600, "tests")
    code = identified.encoder(3, identified.views(3, 2000, "training"), 2, 50)(new.visible).detach()
    assert found == {"cause": identified.explained(code, new.c, 300), "back": identified.explained(new.c, code, 300),
                     "own": identified.explained(code, new.own_v, 300)}
