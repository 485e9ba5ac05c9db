"""A training step here against the same model in PyTorch, eager, on this CPU:

    DIR/bin/python tests/golden/step_time.py [--python=.venv-dev/bin/python] [--rounds=3]

DIR is the environment of tests/golden/make.py; --python is this project's, whose
`tools.benchmark` is run in turns with PyTorch, on all cores. Prints each round's milliseconds and
the ratio of the fastest. The GPT is configs/text/gpt_shakespeare_small.py, the LSTM
configs/text/bilstm_sst2.py with all texts 32 words long.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

OURS = {
    "gpt_small": ["--config=configs/text/gpt_shakespeare_small.py"],
    "bilstm": [
        "--config=configs/text/bilstm_sst2.py",
        "--config.data.max_length=32",
        "--config.data.bucket_lengths=()",
    ],
}
VOCABULARY, BLOCK, BATCH, WIDTH, DEPTH, HEADS = 65, 64, 12, 128, 4, 4


class Layer(nn.Module):
    """A pre-norm block of causal attention and an MLP, without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH, bias=False) for _ in range(2)])
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[b, l, d] of the same."""
        parts = self.qkv(self.norms[0](x)).split(WIDTH, dim=2)
        heads = [p.unflatten(2, (HEADS, -1)).transpose(1, 2) for p in parts]
        seen = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.wide(self.norms[1](x))))


class GPT(nn.Module):
    """nanoGPT's, 0.8 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers = nn.Sequential(*[Layer() for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(WIDTH, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [b, l, v]."""
        x = self.layers(self.tokens(tokens) + self.places.weight)
        return self.norm(x) @ self.tokens.weight.T


class BiLSTM(nn.Module):
    """Both directions, the maximum over the words, two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(14_000, 300)
        self.lstm = nn.LSTM(300, 256, batch_first=True, bidirectional=True)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(512, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [b, 2]."""
        states, _ = self.lstm(self.drop(self.words(tokens)))
        return self.head(self.drop(states.amax(1)))


def gpt_small() -> Callable[[], None]:
    """Its step on random characters."""
    tokens, targets = torch.randint(VOCABULARY, (2, BATCH, BLOCK))
    return step(GPT(), tokens, targets, lambda logits: logits.flatten(0, 1))


def bilstm() -> Callable[[], None]:
    """Its step on random words."""
    tokens, targets = torch.randint(14_000, (64, 32)), torch.randint(2, (64,))
    return step(BiLSTM(), tokens, targets, lambda logits: logits)


def step(
    model: nn.Module, tokens: torch.Tensor, targets: torch.Tensor, rows: Callable
) -> Callable[[], None]:
    """One update: forward, backward, the norm clipped at 1, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run() -> None:
        loss = functional.cross_entropy(rows(model(tokens)), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def theirs(run: Callable[[], None], steps: int = 60) -> float:
    """Milliseconds a step: the mean, as `tools.benchmark` gives it, after 5 to warm up."""
    for _ in range(5):
        run()
    start = time.perf_counter()
    for _ in range(steps):
        run()
    return 1e3 * (time.perf_counter() - start) / steps


def ours(python: str, arguments: list[str]) -> float:
    """Milliseconds an update in `fit`, by this project's own benchmark."""
    command = [python, "-m", "tools.benchmark", "--json", "--no-starts", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["step_ms"]


def main() -> None:
    """Measures both models in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=".venv-dev/bin/python")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for name, build in (("gpt_small", gpt_small), ("bilstm", bilstm)):
        pairs = []
        for _ in range(given.rounds):
            pairs.append((ours(given.python, OURS[name]), theirs(build())))
            print(f"{name}: {pairs[-1][0]:.1f} ms here, {pairs[-1][1]:.1f} ms in PyTorch")
        here, there = (min(column) for column in zip(*pairs, strict=True))
        print(f"{name}: {here / there:.2f} times PyTorch's step")


if __name__ == "__main__":
    main()
