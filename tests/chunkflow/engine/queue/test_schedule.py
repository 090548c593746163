"""Waits against brute force; the scheduler over random jobs, orders and points of resumption."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.engine.planning.stages import Stage, Wait, wait_for, wait_for_all, wait_for_offset
from chunkflow.engine.queue.cells import Range
from chunkflow.engine.queue.schedule import DONE, FAILED, LEASED, READY, WAITING, Schedule
from chunkflow.geometry import Box, Grid, Vec
from tests.support.boxes import boxes, cells, corners

OFFSETS: list[Vec] = [(0, 0, -1), (-1, 0, 0), (0, -2, 0), (0, -1, -1), (0, 0, 1)]


def needed(wait: Wait, grid: Grid, other: Grid, cell: int) -> set[int]:
    x, y, z = wait.needed(grid.position(cell))
    places = np.zeros(other.shape, bool, order="F")
    places[x, y, z] = True
    return set(np.flatnonzero(places.reshape(-1, order="F")).tolist())


def waiting(wait: Wait, grid: Grid, other: Grid, cell: int) -> set[int]:
    x, y, z = wait.waiting(other.position(cell))
    places = np.zeros(grid.shape, bool, order="F")
    places[x, y, z] = True
    return set(np.flatnonzero(places.reshape(-1, order="F")).tolist())


def check(wait: Wait, grid: Grid, other: Grid, wanted: dict[int, set[int]]) -> None:
    """The wait says of every cell what it needs, and of every other cell who needs it."""
    counts = wait.counts().reshape(-1, order="F")
    for cell in range(len(grid)):
        assert needed(wait, grid, other, cell) == wanted[cell]
        assert counts[cell] == len(wanted[cell])
    for cell in range(len(other)):
        assert waiting(wait, grid, other, cell) == {c for c, need in wanted.items() if cell in need}


@given(boxes(), cells, corners, boxes(), cells, corners, st.tuples(*[st.integers(0, 6)] * 3))
@settings(deadline=None)
def test_waits_by_boxes(
    bounds: Box, cell: Vec, anchor: Vec, bounds2: Box, cell2: Vec, anchor2: Vec, halo: Vec
) -> None:
    grid, other = Grid(bounds, cell, anchor), Grid(bounds2, cell2, anchor2)
    wait = wait_for(grid, 0, other, lambda box: box.grow(halo))
    check(
        wait,
        grid,
        other,
        {c: set(other.indexes_meeting(grid.box(c).grow(halo))) for c in range(len(grid))},
    )


@given(boxes(), cells, st.sampled_from(OFFSETS))
@settings(deadline=None)
def test_waits_by_offset(bounds: Box, cell: Vec, offset: Vec) -> None:
    grid = Grid.chunks(bounds, cell)
    wanted: dict[int, set[int]] = {}
    for index in range(len(grid)):
        place = [a + b for a, b in zip(grid.position(index), offset, strict=True)]
        inside = all(0 <= p < n for p, n in zip(place, grid.shape, strict=True))
        wanted[index] = {grid.index((place[0], place[1], place[2]))} if inside else set()
    check(wait_for_offset(grid, 0, offset), grid, grid, wanted)


@st.composite
def jobs(draw: st.DrawFn) -> list[Stage]:
    """Stages over one volume, each waiting for some of those before it."""
    bounds = Box.of_size(draw(st.tuples(*[st.integers(1, 5)] * 3)), (3, -2, 0))
    stages: list[Stage] = []
    for number in range(draw(st.integers(1, 4))):
        grid = Grid.chunks(bounds, draw(st.tuples(*[st.integers(2, 4)] * 3)))
        waits = []
        for before in draw(st.sets(st.integers(0, max(number - 1, 0)), max_size=2)) if number else ():
            halo = draw(st.tuples(*[st.integers(0, 3)] * 3))
            if draw(st.booleans()):
                waits.append(wait_for(grid, before, stages[before].grid, lambda b, h=halo: b.grow(h)))
            else:
                waits.append(wait_for_all(grid, before, stages[before].grid))
        if draw(st.booleans()):
            waits.append(wait_for_offset(grid, number, (0, 0, -1)))
        stages.append(Stage(number, f"s{number}", "map", 0, grid, tuple(waits)))
    return stages


def cells_of(ranges: Sequence[Range]) -> list[tuple[int, int]]:
    return [(r.stage, cell) for r in ranges for cell in range(r.start, r.stop)]


def ready_by_brute_force(stages: list[Stage], done: set[tuple[int, int]]) -> set[tuple[int, int]]:
    ready = set()
    for s, stage in enumerate(stages):
        for cell in range(len(stage.grid)):
            needs = {
                (w.stage, n) for w in stage.waits for n in needed(w, stage.grid, stages[w.stage].grid, cell)
            }
            if (s, cell) not in done and needs <= done:
                ready.add((s, cell))
    return ready


@given(jobs(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_a_cell_is_ready_just_when_all_that_it_waits_for_is_done(stages: list[Stage], seed: int) -> None:
    dice = random.Random(seed)
    schedule = Schedule(stages)
    schedule.begin()
    done: set[tuple[int, int]] = set()
    leased: set[tuple[int, int]] = set()
    while not schedule.complete:
        taken = cells_of(schedule.take(dice.randint(1, 5)))
        assert not leased & set(taken), "no cell is handed out twice"
        assert set(taken) <= ready_by_brute_force(stages, done)
        leased |= set(taken)
        if not taken:
            assert ready_by_brute_force(stages, done) == leased
        stage, cell = dice.choice(sorted(leased))
        leased.remove((stage, cell))
        if dice.random() < 0.2:
            schedule.give_back(Range(stage, cell, cell + 1))
            continue
        assert schedule.done(stage, cell)
        assert not schedule.done(stage, cell), "an answer that comes twice is no news"
        done.add((stage, cell))
    assert len(done) == sum(len(stage.grid) for stage in stages)


@given(jobs(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_resuming_from_what_is_done_equals_going_on(stages: list[Stage], seed: int) -> None:
    dice = random.Random(seed)
    schedule = Schedule(stages)
    schedule.begin()
    for _ in range(dice.randint(0, 60)):
        for stage, cell in cells_of(schedule.take(dice.randint(1, 3))):
            schedule.done(stage, cell, empty=dice.random() < 0.5)
    resumed = Schedule(stages)
    flat = [schedule.states(i).reshape(-1, order="F") for i in range(len(stages))]
    empty = [schedule._stages[i].flat_empty for i in range(len(stages))]
    resumed.resume([states == DONE for states in flat], empty)
    assert (resumed.counts == schedule.counts).all()
    for i in range(len(stages)):
        assert (resumed.states(i) == schedule.states(i)).all()
    while ranges := resumed.take(1000):
        for stage, cell in cells_of(ranges):
            resumed.done(stage, cell)
    assert resumed.complete


@given(jobs(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_any_set_of_cells_may_be_done_at_the_start(stages: list[Stage], seed: int) -> None:
    """Also such as no run leaves: a later one without those that it waited for."""
    dice = np.random.default_rng(seed)
    done = [dice.random(len(stage.grid)) < 0.4 for stage in stages]
    schedule = Schedule(stages)
    schedule.resume(done, [np.zeros(len(stage.grid), bool) for stage in stages])
    known = {(s, int(c)) for s, states in enumerate(done) for c in np.flatnonzero(states)}
    ready = {
        (s, cell)
        for s, stage in enumerate(stages)
        for cell in range(len(stage.grid))
        if schedule.state_of(s, cell) == READY
    }
    assert ready == ready_by_brute_force(stages, known)


def two_stages(sparing: bool = False) -> list[Stage]:
    grid = Grid.chunks(Box.of_size((4, 4, 4)), (1, 1, 1))
    wait = wait_for(grid, 0, grid, lambda box: box, sparing)
    return [Stage(0, "a", "map", 0, grid), Stage(1, "b", "map", 0, grid, (wait,))]


def test_what_failed_is_set_aside_and_blocks_those_that_wait_for_it() -> None:
    schedule = Schedule(two_stages())
    schedule.begin()
    for stage, cell in cells_of(schedule.take(64)):
        if cell == 5:
            schedule.failed(stage, cell)
        else:
            schedule.done(stage, cell)
    assert schedule.state_of(0, 5) == FAILED
    assert [cell for _, cell in cells_of(schedule.take(100))] == [c for c in range(64) if c != 5]
    assert schedule.state_of(1, 5) == WAITING


def test_a_late_answer_for_a_cell_that_was_given_back() -> None:
    schedule = Schedule(two_stages())
    schedule.begin()
    (first,) = schedule.take(1)
    schedule.give_back(first)
    assert schedule.done(first.stage, first.start)
    assert (first.stage, first.start) not in cells_of(schedule.take(1000))
    assert schedule.state_of(first.stage, first.start) == DONE


def test_later_stages_come_first() -> None:
    schedule = Schedule(two_stages())
    schedule.begin()
    for stage, cell in cells_of(schedule.take(3)):
        schedule.done(stage, cell)
    assert schedule.take(5) == [Range(1, 0, 3), Range(0, 3, 5)]


def test_each_kind_of_worker_takes_its_own() -> None:
    first, second = two_stages()
    schedule = Schedule([first, replace(second, worker_kind=1)])
    schedule.begin()
    for stage, cell in cells_of(schedule.take(3)):
        schedule.done(stage, cell)
    assert (schedule.ready(0), schedule.ready(1), schedule.ready(2)) == (61, 3, 0)
    assert schedule.take(5, 0) == [Range(0, 3, 8)]
    assert schedule.take(5, 1) == [Range(1, 0, 3, worker_kind=1)]
    assert schedule.take(5, 2) == []


def test_cells_whose_source_is_empty_are_to_be_skipped() -> None:
    schedule = Schedule(two_stages(sparing=True))
    schedule.begin()
    for stage, cell in cells_of(schedule.take(64)):
        schedule.done(stage, cell, empty=cell in (1, 2))
    taken = [r for r in schedule.take(64) if r.stage == 1]
    assert taken == [Range(1, 0, 1), Range(1, 1, 3, skip=True), Range(1, 3, 64)]
    assert schedule.lease_again(1, 2, alone=True) == Range(1, 2, 3, skip=True, alone=True)
    assert schedule.lease_again(1, 3, alone=False) == Range(1, 3, 4)


@pytest.mark.parametrize("all_at_once", [False, True])
def test_a_million_cells_are_kept_in_arrays(all_at_once: bool) -> None:
    """What is held is arrays of a few bytes a cell, whatever becomes ready at once."""
    grid = Grid.chunks(Box.of_size((100, 100, 100)), (1, 1, 1))
    one = Grid.whole(grid.bounds)
    wait = wait_for_all(grid, 0, one) if all_at_once else wait_for(grid, 0, grid, lambda b: b.grow((1, 1, 1)))
    stages = [Stage(0, "a", "map", 0, one if all_at_once else grid), Stage(1, "b", "map", 0, grid, (wait,))]
    schedule = Schedule(stages)
    schedule.begin()
    for stage, cell in cells_of(schedule.take(1 if all_at_once else 20_000)):
        schedule.done(stage, cell)
    arrays = [value for s in schedule._stages for value in vars(s).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 40 * sum(len(stage.grid) for stage in stages)
    assert sum(len(s.fresh) for s in schedule._stages) < 50_000
    assert sum(w.low[axis].size for s in stages for w in s.waits for axis in range(3)) <= 300
    assert schedule.counts[1, READY] > 0
    assert schedule.counts[:, LEASED].sum() == 0
