"""Scales with round ticks, elements that escape, text cut to a width."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from markupsafe import Markup

from tfseg.report.svg import Scale, drawing, element, fit

finite = st.floats(-1e9, 1e9, allow_subnormal=False)


def test_a_scale_is_linear_from_tick_to_tick():
    scale = Scale.around([0.13, 0.87], 0, 100)
    assert (scale.low, scale.high) == (pytest.approx(0.0), pytest.approx(1.0))
    assert scale(0.5) == pytest.approx(50)
    assert [words for _, words in scale.ticks()] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert scale.step == pytest.approx(0.2)
    down = Scale(0, 10, 200, 100, 5)
    assert [down(value) for value in (0, 5, 10)] == [200, 150, 100]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (0, 1.25, ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25"]),
        (-0.1, 0.1, ["−0.10", "−0.05", "0.00", "0.05", "0.10"]),
        (0, 12.5, ["0.0", "2.5", "5.0", "7.5", "10.0", "12.5"]),
        (1, 999, ["0", "200", "400", "600", "800", "1000"]),
        (0, 125, ["0", "25", "50", "75", "100", "125"]),
        (7, 7, ["6.6", "6.8", "7.0", "7.2", "7.4"]),
    ],
)
def test_ticks_are_round_and_say_all_their_digits(low, high, words):
    assert [text for _, text in Scale.around([low, high], 0, 1).ticks()] == words


@given(st.lists(finite, max_size=5), st.integers(3, 8))
def test_every_value_has_a_place(values, count):
    scale = Scale.around(values, 10, 370, count)
    assert all(9.9 <= scale(value) <= 370.1 for value in values)
    places = [scale(value) for value, _ in scale.ticks()]
    assert 2 <= len(places) <= count + 2
    assert (places[0], places[-1]) == pytest.approx((10, 370))


def test_elements_escape_text_and_keep_elements():
    evil = '<script>"&'
    inner = element("title", evil)
    assert inner == "<title>&lt;script&gt;&#34;&amp;</title>"
    outer = element("g", inner, " & ", class_="a", data_name=evil, x=1.0, y=2.345)
    assert outer == (
        '<g class="a" data-name="&lt;script&gt;&#34;&amp;" x="1" y="2.3">'
        "<title>&lt;script&gt;&#34;&amp;</title> &amp; </g>"
    )
    assert isinstance(drawing(10, 20, evil, [outer]), Markup)
    assert "<script>" not in drawing(10, 20, evil, [outer])


def test_text_keeps_its_ends():
    assert fit("liver", 100, 10) == "liver"
    assert fit("left_upper_lobe_of_the_lung", 80, 10) == "left_up…e_lung"
    assert fit("abcdef", 1, 10) == "a…f"
