"""Sizes as polynomials give, at every workload, the whole number that plain arithmetic gives."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.model.symbolic import (
    DistinctExperts,
    Poly,
    RoundedUp,
    Size,
    Symbol,
    distinct_experts,
    factor,
    poly,
    round_up,
    summed,
    symbol,
)

NAMES = ("batch", "columns", "rows")
UNITS = (2, 3, 512)
whole = st.integers(-9, 9)
points = st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMES})


@dataclass(frozen=True)
class Expression:
    """Arithmetic that runs over numbers or over symbols."""

    text: str
    run: Callable[[Mapping[str, Size]], Size]

    def __repr__(self) -> str:
        return self.text


def binary(sign: str, apply: Callable[[Size, Size], Size]) -> Callable[[Expression, Expression], Expression]:
    return lambda a, b: Expression(f"({a} {sign} {b})", lambda at: apply(a.run(at), b.run(at)))


def rounded(unit: int) -> Callable[[Expression], Expression]:
    return lambda a: Expression(f"⌈{a}⌉{unit}", lambda at: round_up(a.run(at), unit))


leaves = st.one_of(
    whole.map(lambda n: Expression(str(n), lambda at: n)),
    st.sampled_from(NAMES).map(lambda name: Expression(name, lambda at: at[name])),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        *(
            st.builds(binary(sign, apply), inner, inner)
            for sign, apply in {"+": operator.add, "-": operator.sub, "*": operator.mul}.items()
        ),
        inner.map(lambda a: Expression(f"-{a}", lambda at: -a.run(at))),
        *(inner.map(rounded(unit)) for unit in UNITS),
    ),
    max_leaves=8,
)
SYMBOLS = {name: symbol(name) for name in NAMES}


@given(expressions, points)
def test_a_formula_over_symbols_equals_the_formula_over_numbers(expression, point):
    assert poly(expression.run(SYMBOLS)).at(point) == expression.run(point)


@given(expressions, expressions, expressions)
def test_equal_formulas_are_equal_and_hash_alike(a, b, c):
    a, b, c = (poly(expression.run(SYMBOLS)) for expression in (a, b, c))
    for left, right in ((a * (b + c), a * b + a * c), ((a * b) * c, c * (b * a)), (a - b, -(b - a))):
        assert left == right
        assert hash(left) == hash(right)
    assert a - a == 0


@given(whole)
def test_a_constant_is_its_number(n):
    constant = symbol("rows") * 0 + n
    assert constant == n
    assert hash(constant) == hash(n)
    assert poly(n) == constant
    assert poly(constant) is constant


def test_a_polynomial_equals_nothing_else():
    assert symbol("rows") != "rows"
    assert symbol("rows") != symbol("columns")


def test_arithmetic_leaves_its_operands_as_they_were():
    rows = symbol("rows")
    before = dict(rows.terms)
    assert (rows + 1) * rows - rows == rows * rows
    assert rows.terms == before


def test_a_polynomial_shows_its_terms():
    assert repr(2 * symbol("rows") * symbol("batch") + 3) == "2·batch·rows + 3"
    assert repr(symbol("rows") - symbol("rows")) == "0"


@given(expressions, points, st.sampled_from(NAMES), st.integers(0, 40))
def test_a_value_changes_only_with_what_it_depends_on(expression, point, name, other):
    size = poly(expression.run(SYMBOLS))
    if not size.depends_on(factor(name)):
        assert size.at(point) == size.at({**point, name: other})


@given(expressions, points, points)
def test_no_value_nor_one_inside_it_exceeds_its_bound(expression, most, point):
    size = poly(expression.run(SYMBOLS))
    inner = distinct_experts(size + 7, 64, 6)
    point = {name: min(point[name], value) for name, value in most.items()}
    assert abs(size.at(point)) <= size.bound(most)
    assert max(64, size.at(point) + 7) <= poly(inner).bound(most)


def test_a_bound_is_reached():
    rows, batch = symbol("rows"), symbol("batch")
    size = 3 * rows * batch + round_up(rows + 1, 512)
    assert size.bound({"rows": 5, "batch": 7}) == size.at({"rows": 5, "batch": 7}) == 3 * 35 + 512
    assert poly(distinct_experts(rows, 64, 6)).bound({"rows": 63}) == 64
    assert (5 - rows).bound({"rows": 3}) == 8, "whatever their signs"


def test_a_factor_is_its_own_key_and_its_label_for_people():
    same = factor("rows"), factor("rows")
    assert same[0] is same[1]
    assert Symbol("rows") != Symbol("rows")
    for kind in (RoundedUp, DistinctExperts):
        sizes = ("label", symbol("rows"), 512, 6)[: len(fields(kind))]
        assert kind(*sizes) != kind(*sizes)


# Rounding up


@given(st.integers(0, 10_000), st.sampled_from(UNITS))
def test_rounding_up_gives_the_first_multiple_that_is_enough(n, unit):
    up = round_up(n, unit)
    assert up % unit == 0
    assert n <= up < n + unit


def test_rounding_up_what_is_whole_already_changes_nothing():
    size = 1024 * symbol("rows") + 512
    assert round_up(size, 512) is size


def test_equal_sizes_round_up_to_one_and_the_same_term():
    rows, batch = symbol("rows"), symbol("batch")
    assert round_up(rows + 2 * batch, 512) - round_up(batch * 2 + rows, 512) == 0
    assert round_up(rows, 512) != round_up(rows, 256)


# Experts


@given(st.integers(0, 600), st.integers(1, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_distinct_experts_are_the_expectation_to_the_nearest_whole_expert(tokens, sizes):
    experts, chosen = sizes
    expected = experts * (1 - Fraction(experts - chosen, experts) ** tokens)
    assert abs(distinct_experts(tokens, experts, chosen) - expected) <= Fraction(1, 2) + Fraction(1, 10**9)
    at = poly(distinct_experts(symbol("rows"), experts, chosen)).at({"rows": tokens})
    assert at == distinct_experts(tokens, experts, chosen)


@pytest.mark.parametrize("tokens", [1, 4, 20, 100])
def test_distinct_experts_are_what_random_tokens_reach(tokens):
    rng, trials = random.Random(tokens), 400
    reached = [len({e for _ in range(tokens) for e in rng.sample(range(64), 6)}) for _ in range(trials)]
    assert abs(sum(reached) / trials - distinct_experts(tokens, 64, 6)) < 0.5 + 0.2  # rounding, and chance


def test_no_token_reaches_none_one_its_own_and_many_all_experts():
    assert [distinct_experts(tokens, 64, 6) for tokens in (0, 1, 10_000)] == [0, 6, 64]


@given(st.integers(0, 500))
def test_one_token_more_never_reaches_fewer(tokens):
    assert distinct_experts(tokens, 64, 6) <= distinct_experts(tokens + 1, 64, 6)


# Sums over steps


@given(whole, whole, whole, st.lists(st.integers(0, 50), max_size=6), points)
def test_a_sum_over_steps_is_the_sum_of_the_steps(a, b, c, steps, point):
    keys, rows, batch = symbol("keys"), symbol("rows"), symbol("batch")
    size = a * keys * rows + b * keys + round_up(rows * batch, 512) + distinct_experts(batch, 64, 6) + c
    total = poly(summed(size, "keys", "count", "total"))
    assert total.at({**point, "count": len(steps), "total": sum(steps)}) == sum(
        size.at({**point, "keys": step}) for step in steps
    )


def test_a_sum_keeps_terms_that_come_to_the_same_monomial():
    size = symbol("keys") * symbol("count") + symbol("total")
    assert summed(size, "keys", "count", "total") == 2 * symbol("count") * symbol("total")


def test_a_sum_over_steps_of_a_number_counts_the_steps():
    assert summed(7, "keys", "count", "total") == 7 * symbol("count")


@pytest.mark.parametrize(
    "size",
    [symbol("keys") * symbol("keys"), round_up(symbol("keys"), 512), distinct_experts(symbol("keys") + 1, 64, 6)],
    ids=["square", "rounded", "experts"],
)
def test_a_sum_that_is_not_exact_is_refused(size: Poly):
    with pytest.raises(ValueError, match=r"is not affine in keys$"):
        summed(size + symbol("rows"), "keys", "count", "total")
