"""The networks that compression is tested on: what is common in practice, at a size that trains in seconds."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from samples import TOPICS, WORDS


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        same = inside == outside and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Block(32, 32, 1),
        Block(32, 64, 2),
        Block(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class Inverted(nn.Module):
    """A MobileNet block: wide inside, with a depthwise convolution in the middle."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inside
        self.body = nn.Sequential(
            nn.Conv2d(inside, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.same = inside == outside and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Inverted(32, 32, 1),
        Inverted(32, 48, 2),
        Inverted(48, 48, 1),
        Inverted(48, 64, 2),
        nn.Conv2d(64, 256, 1, bias=False),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


class Rows(nn.Module):
    """An LSTM that reads a picture row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 192, batch_first=True)
        self.head = nn.Linear(192, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.lstm(x.squeeze(1))[0][:, -1])
        return y


class Attention(nn.Module):
    """Self-attention with a padding mask, and a feed-forward part; layer norms first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.forward_part = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        y = self.first(x)
        query, key, value = (
            each(y).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for each in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, width))
        z: Tensor = x + self.forward_part(self.second(x))
        return z


class Encoder(nn.Module):
    """Words to one vector a sentence, the mean over its words."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.places = nn.Parameter(torch.randn(64, width) * 0.1)
        self.layers = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor) -> Tensor:
        mask = words != 0
        x = self.words(words) + self.places[: words.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        x = self.norm(x) * mask[..., None]
        y: Tensor = x.sum(1) / mask.sum(1, keepdim=True)
        return y


def transformer() -> nn.Module:
    return nn.Sequential(Encoder(128, 4, 2), nn.Linear(128, TOPICS))


class SentenceEncoder(nn.Module):
    """Embeddings of length 1. Some channels of its norms are outliers, as those of large encoders are."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(256, 4, 4)

    def forward(self, words: Tensor) -> Tensor:
        return functional.normalize(self.encoder(words), dim=1)
