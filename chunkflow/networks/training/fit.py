"""The loop of training: AdamW, a one-cycle rate, clipped gradients, and a running mean of weights.

Every step depends on the state before it and on its number alone, so a training that is killed and resumed
ends with the same bytes as one that was not, on the same CPU and with the same number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chunkflow.errors import BadInput
from chunkflow.networks.architectures import Architecture
from chunkflow.networks.inference import MEMORY_FORMATS
from chunkflow.networks.training.examples.candidates import CandidateExamples
from chunkflow.networks.training.examples.voxels import Example, TrainingExamples
from chunkflow.networks.training.losses import loss_of, output_weights
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.state import Check, Tensors, TrainingState, read_state
from chunkflow.networks.training.validation import Validation

MOST_NORM = 1.0
"""Of all gradients together; longer ones are shortened to it."""
WARM_UP = 0.3
FIRST, LAST = 1 / 25, 1e-4
"""The rate at the beginning and at the end, in shares of the highest."""
WEIGHED_BY = 8
"""Steps whose examples say how rare each output is."""
STATE_SECONDS = 60.0


def rate_of(step: int, recipe: NetworkRecipe) -> float:
    """The learning rate of a step: up along a cosine, and down again."""
    top = max(WARM_UP * recipe.steps, 1)
    if step < top:
        return recipe.rate * (FIRST + (1 - FIRST) * (1 - cos(pi * step / top)) / 2)
    gone = (step - top) / max(recipe.steps - top, 1)
    return recipe.rate * (LAST + (1 - LAST) * (1 + cos(pi * min(gone, 1.0))) / 2)


class TrainingLoop:
    """A network that learns."""

    def __init__(
        self,
        recipe: NetworkRecipe,
        network: Architecture,
        examples: TrainingExamples | CandidateExamples,
        validation: Validation,
        state_file: Path,
        fingerprint: str,
        heard: Callable[[Check], None],
    ) -> None:
        self._recipe, self._examples, self._validation = recipe, examples, validation
        self._file, self._fingerprint, self._heard = state_file, fingerprint, heard
        self._device = validation.device
        self._format = MEMORY_FORMATS.get((self._device, recipe.precision), torch.contiguous_format)
        moved: Any = network.to(self._device, memory_format=self._format)
        self._network: Architecture = moved
        self._weights = dict(network.named_parameters())
        for name, weight in self._weights.items():
            weight.requires_grad_(not name.startswith(recipe.freeze))
        learnt = [weight for weight in self._weights.values() if weight.requires_grad]
        if not learnt:
            raise BadInput(f"freeze {', '.join(recipe.freeze)} leaves no weights to be learnt.")
        self._optimiser = torch.optim.AdamW(learnt, recipe.rate, weight_decay=recipe.decay)
        weighed = [example for step in range(WEIGHED_BY) for example in examples.batch(step)]
        self._balance = output_weights(recipe, weighed).to(self._device)
        state = read_state(state_file, fingerprint)
        first = network.state_dict()
        self._state = state or TrainingState(0, first, _copied(first), _copied(first), {})
        if state is not None:
            self._resume(state)

    def run(self) -> tuple[Tensors, list[Check]]:
        """Train to the end; returns the best weights, and all looks at the validation."""
        state, saved = self._state, time.monotonic()
        with _threads(self._recipe.threads), self._prefetched(state.step) as batches:
            while not self._is_done():
                self._step(next(batches))
                if state.step % self._recipe.every == 0 or state.step == self._recipe.steps:
                    self._check()
                if time.monotonic() - saved > STATE_SECONDS:
                    self._write()
                    saved = time.monotonic()
        return state.best, state.checks

    def _is_done(self) -> bool:
        state = self._state
        since_best = len(state.checks) - 1 - best_check(state.checks)
        return state.step >= self._recipe.steps or since_best >= self._recipe.patience

    def _step(self, batch: list[Example]) -> None:
        state, recipe = self._state, self._recipe
        for group in self._optimiser.param_groups:
            group["lr"] = rate_of(state.step, recipe)
        channels, truth, known = self._tensors(batch)
        buffers = _copied(dict(self._network.named_buffers()))
        with _drawn(recipe.seed, state.step, self._device):
            self._learning()
            with torch.autocast(self._device, torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits = self._logits(channels)
        loss = loss_of(recipe, self._balance, logits.float(), truth, known)
        self._optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            [w for w in self._weights.values() if w.requires_grad], MOST_NORM
        )
        if not (isfinite(loss.item()) and isfinite(norm.item())):
            for name, buffer in self._network.named_buffers():
                buffer.copy_(buffers[name])  # batch norm has seen what is no number
            self._write()
            raise BadInput(
                f"In step {state.step} the loss is not a number; the state before it is in {self._file}. "
                "Take a lower `rate`, or fp32 as `precision`."
            )
        self._optimiser.step()
        state.step += 1
        state.losses.append(loss.item())
        self._take_mean()

    def _logits(self, channels: torch.Tensor) -> torch.Tensor:
        """The answers (patch, output, x, y, z); of a candidate there is one, for the voxel at its middle."""
        if not self._recipe.judges:
            return self._network(channels)
        judge: Any = self._network
        return judge.judged(channels)[..., None, None, None]

    def _learning(self) -> None:
        """Set the network to learn; what is frozen keeps what its batch norm has seen, too."""
        self._network.train()
        for name, module in self._network.named_modules():
            if f"{name}.".startswith(self._recipe.freeze):
                module.eval()

    def _take_mean(self) -> None:
        """The running mean goes on by one step; at first it forgets faster."""
        step = self._state.step
        kept = min(self._recipe.mean, (1 + step) / (10 + step))
        for name, value in self._network.state_dict().items():
            mean = self._state.mean[name]
            if value.is_floating_point():
                mean.lerp_(value.detach(), 1 - kept)
            else:
                mean.copy_(value)

    def _check(self) -> None:
        """Look at the validation; the best weights so far are kept."""
        state = self._state
        score, thresholds = self._validation.score(state.mean)
        loss = float(np.mean(state.losses))
        check = Check(state.step, rate_of(state.step - 1, self._recipe), loss, score, thresholds)
        state.checks.append(check)
        state.losses.clear()
        if best_check(state.checks) == len(state.checks) - 1:
            state.best = _copied(state.mean)
        self._heard(check)

    def _tensors(self, batch: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        channels = torch.from_numpy(np.stack([example.channels for example in batch]))
        truth = np.stack([example.truth for example in batch])
        known = torch.from_numpy(np.stack([example.known for example in batch]))
        wide = truth if truth.dtype.kind == "f" else truth.astype(np.int64)
        given = channels.to(self._device, memory_format=self._format)
        return given, torch.from_numpy(wide).to(self._device), known.to(self._device)

    @contextmanager
    def _prefetched(self, first: int) -> Iterator[Iterator[list[Example]]]:
        """The batches from a step on, each made while the one before is learnt from."""
        with ThreadPoolExecutor(1) as pool:

            def batches() -> Iterator[list[Example]]:
                ahead: Future[list[Example]] = pool.submit(self._examples.batch, first)
                for step in range(first + 1, self._recipe.steps + 1):
                    made = ahead.result()
                    ahead = pool.submit(self._examples.batch, step)
                    yield made

            yield batches()

    def _write(self) -> None:
        names = {weight: name for name, weight in self._weights.items()}
        moments: dict[str, Tensors] = {"step": {}, "exp_avg": {}, "exp_avg_sq": {}}
        for weight, found in self._optimiser.state.items():
            for what, tensors in moments.items():
                tensors[names[weight]] = found[what]
        self._state.network, self._state.moments = self._network.state_dict(), moments
        self._state.write(self._file, self._fingerprint)

    def _resume(self, state: TrainingState) -> None:
        self._network.load_state_dict(state.network)
        for part in (state.mean, state.best):
            for name in part:
                part[name] = part[name].to(self._device)
        for name, weight in self._weights.items():
            if name in state.moments.get("step", {}):
                found = {what: tensors[name] for what, tensors in state.moments.items()}
                moved = {what: tensor.to(weight.device) for what, tensor in found.items() if what != "step"}
                self._optimiser.state[weight] = {"step": found["step"], **moved}


def best_check(checks: list[Check]) -> int:
    """The look with the highest score, the first of several; -1 where there was none."""
    return max(range(len(checks)), key=lambda n: (checks[n].score, -n), default=-1)


def _copied(tensors: Any) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _drawn(seed: int, step: int, device: str) -> Iterator[None]:
    """What torch draws within a step depends on the seed and the step alone."""
    with torch.random.fork_rng(enabled=device == "cpu", devices=[]):
        torch.manual_seed(int(np.random.SeedSequence((seed, step, 1)).generate_state(1)[0]))
        yield
