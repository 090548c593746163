"""The page of a learning: how the scores rose, whether to go on, and what each round asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chunkflow.data.atomic import write_whole
from chunkflow.people.learning.active.measures import FEWEST_MEASURED, Estimated
from chunkflow.people.learning.active.rounds import LOOKED_BACK, OUTLOOK, Round, gain_expected, is_settled
from chunkflow.people.reports.pages import heading, page, paragraph, picture, table
from chunkflow.people.reports.pictures import BLUE, GREY, PURPLE, TEAL, figure, png

SCORES = "F1", "PR AUC"


def write_page(to: Path, name: str, rounds: Sequence[Round], until: float) -> None:
    """Write the page of the rounds so far."""
    to.parent.mkdir(parents=True, exist_ok=True)
    write_whole(to, page(f"Learning {name} from what people decide", parts_of(rounds, until)).encode())


def parts_of(rounds: Sequence[Round], until: float) -> list[str]:
    """What stands on the page, below its title."""
    last = rounds[-1]
    parts = [paragraph(f"{last} {_advice(rounds, until)}"), *map(paragraph, last.remarks)]
    scored = [one for one in rounds if one.scores]
    if scored:
        parts += [
            heading("How well unseen objects are judged"),
            picture(
                _curves(scored),
                "F1 and PR AUC over labels and over people's time. Only objects that were drawn at random "
                "count: what was chosen because it is hard says nothing of the others. Bands hold with a "
                "certainty of 95 %.",
            ),
            picture(
                _reliability(scored[-1]),
                "How often the likeliest class was right, over how probable it was said to be, of fifths of "
                "the objects at random: on the line the probability can be believed.",
            ),
        ]
    else:
        parts.append(paragraph(f"Scores come with the first {FEWEST_MEASURED} decided objects at random."))
    if any(one.kappa is not None for one in rounds):
        parts += [
            heading("Whether models still change"),
            picture(
                _agreement(rounds, until),
                "Agreement of each model with that of the round before on the same objects (Cohen's kappa).",
            ),
        ]
    head = ["round", "labels", "minutes", "of each class", *SCORES, "kappa", "asked for", "edit"]
    return [*parts, heading("Rounds"), table(head, map(_row, rounds))]


def _advice(rounds: Sequence[Round], until: float) -> str:
    """Whether it is worth while to go on."""
    if is_settled(rounds, until):
        return (
            f"The mean kappa of the last {LOOKED_BACK} models is at least {until:g}: they no longer change, "
            "and there is no need to go on."
        )
    gain = gain_expected(rounds)
    if gain is None:
        return ""
    return f"The next {OUTLOOK} labels can be expected to bring an F1 of {gain:.3f} more."


def _row(one: Round) -> list[str]:
    learnt = ", ".join(f"{count} {name}" for name, count in one.labels.items())
    scores = (one.scores.f1, one.scores.pr_auc) if one.scores else (None, None)
    return [
        str(one.number),
        str(one.labelled),
        f"{one.minutes:.1f}",
        learnt,
        *(str(score or "") for score in scores),
        "" if one.kappa is None else f"{one.kappa:.3f}",
        f"{len(one.chosen)} by {one.strategy}, {len(one.random)} at random",
        str(one.edit),
    ]


def _curves(rounds: Sequence[Round]) -> bytes:
    drawn = figure(9.5, 3.8)
    by_labels, by_minutes = drawn.subplots(1, 2, sharey=True)
    for axes, along in (
        (by_labels, [float(one.labelled) for one in rounds]),
        (by_minutes, [one.minutes for one in rounds]),
    ):
        for name, colour, found in zip(SCORES, (BLUE, TEAL), _scores(rounds), strict=True):
            axes.fill_between(
                along,
                [score.low for score in found],
                [score.high for score in found],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(along, [score.value for score in found], "o-", color=colour, markersize=4, label=name)
        axes.set(ylim=(-0.02, 1.02))
    by_labels.set(xlabel="labels", ylabel="score")
    by_minutes.set(xlabel="minutes that people spent")
    by_labels.legend(loc="lower right")
    return png(drawn)


def _scores(rounds: Sequence[Round]) -> tuple[list[Estimated], list[Estimated]]:
    known = [one.scores for one in rounds if one.scores]
    return [scores.f1 for scores in known], [scores.pr_auc for scores in known]


def _reliability(one: Round) -> bytes:
    drawn = figure(4.4, 4.0)
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    assert one.scores is not None
    fifths = one.scores.reliability
    said, true = [fifth.said for fifth in fifths], [fifth.came_true for fifth in fifths]
    axes.plot(said, true, "o-", color=PURPLE, markersize=5)
    axes.set(xlim=(0.3, 1.02), ylim=(-0.02, 1.02), xlabel="probability said", ylabel="share that is right")
    return png(drawn)


def _agreement(rounds: Sequence[Round], until: float) -> bytes:
    drawn = figure(6.0, 3.0)
    axes = drawn.subplots()
    known = [(one.labelled, one.kappa) for one in rounds if one.kappa is not None]
    axes.axhline(until, color=GREY, linewidth=1, linestyle=":", label=f"{until:g}, where it may end")
    axes.plot([n for n, _ in known], [value for _, value in known], "o-", color=BLUE, markersize=4)
    axes.set(xlabel="labels", ylabel="kappa", ylim=(min(0.0, *(value for _, value in known)) - 0.02, 1.02))
    axes.legend(loc="lower right")
    return png(drawn)
