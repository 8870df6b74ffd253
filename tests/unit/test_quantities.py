"""Quantities are read as Kubernetes reads them; the table is from its own tests and documentation."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.quantities import SUFFIXES, canonical, count, cpu, memory, quantity


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("0", 0),
        ("1", 1),
        (4, 4),
        (0.5, Fraction(1, 2)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.", 1),
        ("500m", Fraction(1, 2)),
        ("100n", Fraction(1, 10**7)),
        ("3u", Fraction(3, 10**6)),
        ("1k", 1000),
        ("2M", 2 * 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("1.5e+2", 150),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("2Ti", 2 * 2**40),
        ("1Ei", 2**60),
    ],
)
def test_accepted_forms(raw, value):
    assert quantity(raw) == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("1g", '"1g" ends in g, which is no suffix (did you mean 1G?)'),
        ("16gi", '"16gi" ends in gi, which is no suffix (did you mean 16Gi?)'),
        ("1K", '"1K" ends in K, which is no suffix (did you mean 1k?)'),
        ("5GB", '"5GB" ends in GB, which is no suffix (did you mean 5G?)'),
        ("8GiB", '"8GiB" ends in GiB, which is no suffix (did you mean 8Gi?)'),
        ("2cores", '"2cores" ends in cores, which is no suffix'),
        ("", '"" is not a quantity'),
        ("-1", '"-1" is not a quantity'),
        ("1 Gi", '"1 Gi" is not a quantity'),
        ("1e", '"1e" ends in e, which is no suffix (did you mean 1E?)'),
        ("1_000", '"1_000" is not a quantity'),
        ("1" * 40, f'"{"1" * 40}" is not a quantity'),
        ("\u0663Gi", '"\u0663Gi" is not a quantity'),
        ("8Ei", '"8Ei" is more than 9223372036854775807'),
        (True, "true is not a quantity"),
        (None, "null is not a quantity"),
        ([1], "[1] is not a quantity"),
        (float("nan"), "NaN is not a quantity"),
    ],
)
def test_refused_forms(raw, words):
    with pytest.raises(ValueError) as refused:
        quantity(raw)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("parse", "raw", "words"),
    [
        (cpu, "0.0005", '"0.0005" is finer than a thousandth of a core'),
        (memory, "100m", '"100m" is not a whole number of bytes'),
        (count, "0.5", '"0.5" is not a whole number'),
        (count, 1.5, "1.5 is not a whole number"),
    ],
)
def test_what_a_resource_cannot_have(parse, raw, words):
    with pytest.raises(ValueError) as refused:
        parse(raw)
    assert str(refused.value) == words


def test_what_a_resource_can_have():
    assert (cpu("1m"), memory("1.5Ki"), count("3"), count(3.0)) == (Fraction(1, 1000), 1536, 3, 3)


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (4, "4"),
        (0.5, "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("2000", "2k"),
        ("1024", "1024"),
        ("0Gi", "0"),
        ("2048Mi", "2Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000Ki", "1000Ki"),
        ("1.0001Ki", "1024103m"),
        ("0.1n", "1m"),
        ("1E3", "1k"),
        ("12e4", "120k"),
        ("5e-1", "500m"),
        ("1e0", "1"),
        ("007", "7"),
        ("9E", "9E"),
    ],
)
def test_the_spelling_that_the_api_server_keeps(raw, written):
    """sandbox/tests/program/test_incluster_api.py asks a server whether it does."""
    assert canonical(raw) == written
    assert canonical(written) == written


@given(
    st.decimals(0, 8, places=4).map(str), st.sampled_from([*sorted(SUFFIXES.keys() - {"Ei"}), "e3", "E-2"])
)
def test_another_spelling_is_the_same_value(number, suffix):
    value, written = quantity(number + suffix), canonical(number + suffix)
    assert 0 <= quantity(written) - value < Fraction(1, 1000), "only what is finer than 1m is rounded, and up"
    assert canonical(written) == written


@given(st.integers(0, 7), st.sampled_from(sorted(SUFFIXES)))
def test_every_suffix_is_a_plain_factor(number, suffix):
    assert quantity(f"{number}{suffix}") == number * SUFFIXES[suffix]


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_in_words(text):
    words = "is not a quantity"
    try:
        value = quantity(text)
    except ValueError as refused:
        value, words = Fraction(0), str(refused)
    assert value >= 0
    assert "is not a quantity" in words or "is no suffix" in words
