"""Cells found on real light-sheet volumes with the diameter alone; and how flat F1 is around each constant.

A detection and a cell of the truth are paired one to one within 10 µm, as many as there can be.
"""

from __future__ import annotations

from benchmarks.figure import Figure
from testbed.detection import FACTORS, TISSUES, f1_score, found_by_segment, scan


def run() -> list[Figure]:
    figures = []
    for tissue in TISSUES:
        if not tissue.path.exists():
            print(f"detection: {tissue.path} is not here; nothing measured.")
            continue
        image, truth = tissue.load()
        score = f1_score(found_by_segment(image, tissue.diameter)[0], truth)
        figures.append(Figure(f"{tissue.name}, threshold auto", round(score, 3), "F1", target=tissue.wanted))
        best, scans = scan(image, truth, tissue.diameter)
        figures.append(Figure(f"{tissue.name}, best single threshold, truth in hand", round(best, 3), "F1"))
        for one in scans:
            for factor, value in zip(FACTORS, one.scores, strict=True):
                figures.append(Figure(f"{tissue.name}, {one.name} x {factor}", round(value, 3), "F1"))
    return figures


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
