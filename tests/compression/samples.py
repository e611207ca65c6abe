"""Data that the networks of these tests learn from: digits in many positions, and sentences of a small language."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Array = npt.NDArray[np.generic]
SIDE = 16
WORDS, LENGTH, TOPICS = 400, 24, 8
_NOT = 1
"""The word that turns a sentence's topic into the one opposite."""


@dataclass(frozen=True)
class Samples:
    """Inputs and labels, apart: the three never share a sample, and those of digits no written digit either."""

    training: tuple[Array, Array]
    calibration: tuple[Array, Array]
    evaluation: tuple[Array, Array]


def images() -> Samples:
    """Digits of 16 x 16 pixels, from 0 to 1: moved by up to 2 pixels, dimmed, and with noise."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    pictures, labels = digits.images[order] / 16, digits.target[order]
    train, calibrate = slice(0, 1100), slice(1100, 1300)
    return Samples(
        _drawn(pictures[train], labels[train], 3000, seed=1),
        _drawn(pictures[calibrate], labels[calibrate], 512, seed=2),
        _drawn(pictures[1300:], labels[1300:], 2000, seed=3),
    )


def sentences() -> Samples:
    """24 words each, labelled by their topic; a sentence with the word 1 has the topic opposite, and 0 is padding."""
    return Samples(*(_sentences(count, seed) for seed, count in enumerate((4000, 512, 2000), start=4)))


def _drawn(pictures: Array, labels: Array, count: int, seed: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    chosen = random.integers(len(pictures), size=count)
    drawn = np.zeros((count, 1, SIDE, SIDE), np.float32)
    large = np.kron(pictures[chosen].astype(np.float32), np.ones((1, 2, 2), np.float32))
    for index, (down, right) in enumerate(random.integers(-2, 3, size=(count, 2))):
        drawn[index, 0] = np.roll(large[index], (down, right), axis=(0, 1))
    drawn *= random.uniform(0.6, 1, size=(count, 1, 1, 1)).astype(np.float32)
    drawn += random.normal(0, 0.08, drawn.shape).astype(np.float32)
    return drawn, labels[chosen].astype(np.int64)


def _sentences(count: int, seed: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    vocabulary = (
        np.random.default_rng(99).permutation(np.arange(2, WORDS)).reshape(-1)[: TOPICS * 40].reshape(TOPICS, 40)
    )
    topics = random.integers(TOPICS, size=count)
    words = random.integers(2, WORDS, size=(count, LENGTH))
    telling = random.random((count, LENGTH)) < 0.3
    words = np.where(telling, vocabulary[topics[:, None], random.integers(40, size=(count, LENGTH))], words)
    negated = random.random(count) < 0.4
    words[negated, random.integers(LENGTH // 2, size=count)[negated]] = _NOT
    lengths = random.integers(LENGTH // 2, LENGTH + 1, size=count)
    words[np.arange(LENGTH) >= lengths[:, None]] = 0
    return words.astype(np.int64), np.where(negated, (topics + TOPICS // 2) % TOPICS, topics).astype(np.int64)
