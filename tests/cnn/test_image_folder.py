"""Data sets in folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnn

SIZE = (5, 4)  # width and height, as Pillow has them


def draw(file: Path, value: int, mode: str = "L", size: tuple[int, int] = SIZE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: five cats of value 10 to 14, ten dogs of value 100 to 109."""
    for number in range(5):
        draw(tmp_path / "cat" / f"{number}.png", 10 + number)
    for number in range(10):
        draw(tmp_path / "dog" / f"{number}.PNG", 100 + number)
    (tmp_path / "dog" / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    return tmp_path


def values(split: cnn.data.Split) -> list[int]:
    return (split.x[:, 0, 0, 0] * 255).round().astype(int).tolist()


def test_a_fifth_of_each_class_is_the_test_set(folder: Path) -> None:
    data = cnn.data.load(folder)
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (1, 4, 5)
    assert sorted(values(data.train) + values(data.test)) == [*range(10, 15), *range(100, 110)]
    assert np.bincount(data.test.y).tolist() == [1, 2]
    for split in (data.train, data.test):
        assert [value >= 100 for value in values(split)] == (split.y == 1).tolist()
    assert values(cnn.data.load(folder).test) == values(data.test)


def test_train_and_test_folders(tmp_path: Path) -> None:
    for part, value in (("train", 10), ("test", 20)):
        draw(tmp_path / part / "a" / "1.png", value)
        draw(tmp_path / part / "b" / "1.jpg", value + 1)
    data = cnn.data.load(tmp_path)
    assert values(data.train) == [10, 11]
    assert values(data.test) == [20, 21]


def test_colour_where_any_image_has_it(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "a" / "1.png", 10)
    draw(tmp_path / "train" / "b" / "1.png", 10, "1")
    draw(tmp_path / "test" / "a" / "1.png", 20)
    red = Image.new("RGBA", SIZE, (255, 51, 0, 255))
    (tmp_path / "test" / "b").mkdir()
    red.save(tmp_path / "test" / "b" / "1.png")
    data = cnn.data.load(tmp_path)
    assert data.input_shape == (3, 4, 5)
    assert data.train.x[0, :, 0, 0] * 255 == pytest.approx([10, 10, 10])
    assert data.test.x[1, :, 0, 0] == pytest.approx([1, 0.2, 0])


def refusal(folder: Path) -> str:
    with pytest.raises(cnn.data.DataError) as caught:
        cnn.data.load(folder)
    assert str(caught.value).startswith(str(folder))
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"P6\n16", b"P6\n5 x\n255\n", b"P6\n60000 60000\n255\n"],
    ids=["cut off", "no number", "too large"],
)
def test_damaged_images_are_named(folder: Path, content: bytes) -> None:
    (folder / "dog" / "z.ppm").write_bytes(content)
    assert "z.ppm: cannot be read as an image" in refusal(folder)


def test_images_that_do_not_fit(folder: Path) -> None:
    draw(folder / "dog" / "z.png", 1, size=(6, 4))
    assert "z.png: all images must have one size; it is 6×4, the first is 5×4" in refusal(folder)
    (folder / "dog" / "z.png").write_bytes(b"\x89PNG and no more")
    assert "z.png: cannot be read as an image" in refusal(folder)
    Image.new("I;16", SIZE).save(folder / "dog" / "z.png")
    assert "z.png: must have 8 bits a channel, but its mode is I;16" in refusal(folder)
    whole = (folder / "dog" / "1.PNG").read_bytes()
    (folder / "dog" / "z.png").write_bytes(whole[:-20])
    assert "z.png: cannot be read as an image" in refusal(folder)


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    assert "a folder of images for each of 2 or more classes" in refusal(tmp_path)
    draw(tmp_path / "a" / "1.png", 1)
    draw(tmp_path / "b" / "1.png", 1)
    assert "no class has enough of them" in refusal(tmp_path)
    for name in ("train/a", "train/b", "test/a", "test/c"):
        draw(tmp_path / name / "1.png", 1)
    assert "train and test must have the same classes, got a, b and a, c" in refusal(tmp_path)
