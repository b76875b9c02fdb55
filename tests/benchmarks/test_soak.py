"""The soak's own judgement: memory that grows, and rows that are not as they should be."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks.soak import GROWTH, Look, check_rows, growth, memory_plot
from benchmarks.soak_inputs import draw, picture_name
from jaxcbm.encoders.image.open import open_image


def looks(leak: float) -> list[Look]:
    """Four attempts, of which the second is the longest; process 1 leaks so many MiB a look."""
    return [
        Look(
            100.0 * attempt + i, attempt, process, 50 + min(3 * i, 50) + leak * i * process, i // 2
        )
        for attempt, length in enumerate((20, 80, 30, 40))
        for i in range(length)
        for process in range(2)
    ]


def test_growth_is_that_of_the_longest_attempt_once_it_is_warm():
    for leak in (0.0, 0.2):
        calm, other = growth(looks(leak))
        assert calm["attempt"] == other["attempt"] == 1 and abs(calm["growth"]) < 1e-9
        assert (other["growth"] > GROWTH) == (leak > 0)


def test_the_picture_shows_every_attempt():
    kills = [{"seconds": 90.0, "files": 3}] * 3
    result = {"pictures": 10, "pictures_per_second": 3.0, "processes": 2, "kills": kills}
    axes = memory_plot(result, looks(0.0)).axes[0]
    assert len(axes.lines) == 2 * 4 + 3


def test_a_row_that_is_missing_doubled_or_elsewhere_is_found(tmp_path):
    shards = [tmp_path / f"soak-{n:04d}.tar" for n in range(2)]
    names = [f"{shards[i // 3]}/{picture_name(i)}" for i in range(5)]

    def write(first, second):
        for number, rows in enumerate((first, second)):
            file = tmp_path / f"part-{number:05d}-of-00002.parquet"
            pa.parquet.write_table(pa.table({"file": rows}), file)

    write(names[:3], names[3:])
    assert check_rows(tmp_path, shards, 5, 3) == 5
    for wrong in ((names[:2], names[2:]), (names[2::-1], names[3:]), (names[:3], names[3:4])):
        write(*wrong)
        with pytest.raises(AssertionError):
            check_rows(tmp_path, shards, 5, 3)


def test_pictures_are_drawn_alike_and_can_be_read():
    first, again = list(draw(7, 3)), list(draw(7, 3))
    assert first == again and len({content for _, content in first}) == 3
    assert open_image(first[0][1]).size == (16, 16)
