import polars as pl
import pytest

from workbench import charts


@pytest.mark.parametrize(
    ("largest", "end"), [(0, 1.0), (0.7, 1.0), (1, 1.0), (2.2, 2.5), (37, 50.0), (5000, 5000.0)]
)
def test_an_axis_ends_at_a_round_number_at_or_above_the_largest(largest, end):
    assert charts.upper(largest) == end


def test_an_interval_has_a_width_also_where_all_or_none_were_hit():
    frame = pl.DataFrame({"k": [0, 5, 10], "n": [10, 10, 10]})
    found = charts.shares(frame, hits="k", total="n")
    assert found["share"].to_list() == [0.0, 0.5, 1.0]
    assert found["low"].round(3).to_list() == [0.0, 0.187, 0.692]
    assert found["high"].round(3).to_list() == [0.308, 0.813, 1.0]


def test_a_chart_is_drawn_in_the_designs_tokens_and_says_its_numbers():
    drawn = charts.to_svg(charts.bar(4, of=10, marked=True), label='4 of "10"')
    assert 'aria-label="4 of &quot;10&quot;"' in drawn
    assert "var(--wb-error-mark, #e84d0c)" in drawn
    assert 'fill="#' not in drawn


def test_a_bar_ends_where_its_count_does():
    assert "h163.2" in charts.to_svg(charts.bar(4, of=10), label="x").replace(
        "163.20000000000002", "163.2"
    )


def test_unknown_values_are_not_drawn_as_zero():
    frame = pl.DataFrame({"cost": [1.0, None, 3.0]})
    one = charts.to_svg(charts.ticks(frame, value="cost", end=5), label="x")
    known = charts.to_svg(charts.ticks(frame.drop_nulls(), value="cost", end=5), label="x")
    assert one == known


def test_the_run_in_question_stands_out():
    frame = pl.DataFrame({"took": [1.0, 2.0, 3.0]})
    drawn = charts.to_svg(charts.ticks(frame, value="took", end=5, marked=2.0), label="x")
    assert drawn.count("var(--wb-accent") == 1


def test_an_interval_is_open_or_filled():
    chart = charts.interval(share=0.2, low=0.1, high=0.4, filled=False)
    assert "var(--wb-bg, #fffffe)" in charts.to_svg(chart, label="x")


def test_equal_frames_give_equal_charts():
    frame = pl.DataFrame({"took": [1.0, 2.0]})
    one, other = (charts.to_svg(charts.ticks(frame, value="took", end=5), label="x") for _ in "ab")
    assert one == other
