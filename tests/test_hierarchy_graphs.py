"""The minimal shared set of a mask, beside the search through all sets."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrpbook.hierarchy import graphs
from mrpbook.hierarchy.graphs import Graph
from mrpbook.rng import generator


def drawn(seed):
    g = generator(seed, "test: graph and mask")
    graph = graphs.random_graph(seed, int(g.integers(2, 7)), int(g.integers(3, 7)))
    pixels = g.permutation(np.array(graph.pixels))
    return graph, pixels[:int(g.integers(1, len(pixels)))].tolist()


def test_the_deepest_shared_ancestors_are_the_only_minimum_on_two_thousand_graphs():
    sizes = set()
    for seed in range(2000):
        graph, masked = drawn(seed)
        found = graphs.shared(graph, masked)
        assert graphs.exhaustive(graph, masked) == [found]
        sizes.add(len(found))
    assert {0, 1, 2, 3} <= sizes  # the graphs are not all of one kind


def test_all_shared_ancestors_are_not_the_minimum_and_one_level_up_is_not_enough():
    """The two obvious other answers, which the search must reject."""
    rejected = {"all": 0, "parents": 0}
    for seed in range(300):
        graph, masked = drawn(seed)
        found, (hidden, seen) = graphs.shared(graph, masked), graph.split(masked)
        others = {"all": frozenset(hidden & seen), "parents": frozenset(p for z in found for p in graph.parents[z])}
        for name, other in others.items():
            rejected[name] += other != found and other not in graphs.exhaustive(graph, masked)
    assert min(rejected.values()) > 50


def test_the_conditions_are_those_of_random_vectors():
    """Every variable as a random injective matrix of its noises: functions of each other and independence are then ranks."""
    g = np.random.default_rng(0)
    rank = lambda *parts: np.linalg.matrix_rank(np.vstack(parts)) if sum(map(len, parts)) else 0  # noqa: E731
    for seed in range(60):
        graph, masked = drawn(seed)
        rows = []
        for above in graph.parents:
            noise = np.eye(len(graph.parents))[[len(rows)]]
            stack = np.vstack([*(rows[p] for p in above), noise])
            rows.append(g.standard_normal((len(stack), len(stack))) @ stack)
        side = {True: [], False: []}
        for v in graph.pixels:
            side[v in masked].append(rows[v])
        hidden, seen = np.vstack(side[True]), np.vstack(side[False])
        found = set(graphs.admissible(graph, masked))
        for bits in range(2**graph.latents):
            c = [z for z in range(graph.latents) if bits >> z & 1]
            code = [rows[z] for z in c]
            known = rank(hidden, *code) == rank(hidden) and rank(seen, *code) == rank(seen)
            apart = rank(hidden, *code) + rank(seen, *code) - rank(hidden, seen, *code) == rank(*code)
            assert (known and apart) == (frozenset(c) in found)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_masked_and_visible_may_change_places(seed):
    graph, masked = drawn(seed)
    assert graphs.shared(graph, masked) == graphs.shared(graph, set(graph.pixels) - set(masked))


def test_a_pixel_of_a_binary_tree_shares_its_parent_and_a_whole_half_shares_the_root():
    graph = graphs.tree(2, 3)
    first = graph.pixels.start
    assert graph.latents == 7 and len(graph.pixels) == 8
    assert graphs.shared(graph, [first]) == {3}
    assert graphs.shared(graph, range(first, first + 4)) == {0}
    assert graphs.shared(graph, [first, first + 2]) == {3, 4}
    assert graphs.heights(graph).tolist() == [3, 2, 2, 1, 1, 1, 1] + [0] * 8


def test_two_pixels_without_a_common_ancestor_share_nothing():
    graph = Graph(((), (), (0,), (1,)), 2)
    assert graphs.shared(graph, [2]) == frozenset() and graphs.exhaustive(graph, [2]) == [frozenset()]


@pytest.mark.parametrize("make, message", [
    (lambda: Graph(((), (1,)), 1), r"parents\[1\] = \(1,\)"), (lambda: Graph(((),), 1), "latents = 1"),
    (lambda: graphs.shared(graphs.tree(2, 1), [1, 2]), r"masked = \[1, 2\]"),
    (lambda: graphs.shared(graphs.tree(2, 1), []), r"masked = \[\]"),
    (lambda: graphs.shared(graphs.tree(2, 2), [1]), "expected some pixels of 3 to 6"),
    (lambda: graphs.exhaustive(graphs.tree(2, 5), [40]), "latents = 31"),
])
def test_bad_graphs_and_masks_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
