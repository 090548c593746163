"""The commands of a review: the page until Ctrl-C, the export, the check."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
import typer.main

import chunkflow as cf
from chunkflow.people.database import Database
from chunkflow.people.review.reviewing import open_log
from chunkflow.people.service.local.reviewer import review
from cli.main import build
from tests.support.commands import Command
from tests.support.people.reviews import asked, decide, job_to_review, sent

WITHOUT = "import sys; sys.modules['sqlalchemy'] = None; from cli.main import main; main()"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    work = job_to_review(tmp_path_factory.mktemp("job"))
    with review(work, person="ann") as page:
        found = asked(page, "next?query=undecided")["object"]
        sent(page, key="a", operation="class", object=found["id"], **{"class": "glia"})
    return work


def test_the_page_is_served_until_it_is_interrupted(work: str) -> None:
    command = [sys.executable, "-m", "cli.main", "review", f"{work}:classified", "--classes", "dust"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert server.stdout is not None
    title, _, link = server.stdout.readline().strip().partition(" decided: ")
    assert title == "Review of classified, 1 of 100"
    with urlopen(link) as page:
        assert b"review.js" in page.read()
    while "Ctrl-C ends it" not in server.stdout.readline():
        pass
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=30)[0].strip() == "Review of classified, 1 of 100 decided."
    assert server.returncode == 0


def test_what_was_decided_is_exported_and_checked(work: str, command: Command, tmp_path: Path) -> None:
    said = command("review", "export", work, "--to", tmp_path / "reviewed.csv")
    assert said.out == f"{tmp_path}/reviewed.csv has 100 rows of classified, as of edit 1.\n"
    said = command("review", "export", work, "--to", tmp_path / "reviewed.csv")
    assert (said.code, "exists already" in said.err) == (2, True)
    said = command("review", "export", work, "--to", tmp_path / "none.csv", "--edit", "0")
    assert "accepted" not in (tmp_path / "none.csv").read_text()
    said = command("review", "export", work, "--to", tmp_path / "shown", "--as", "annotations")
    assert said.out == f"{tmp_path}/shown has 100 rows of classified, as of edit 1.\n"
    said = command("review", "polygons", work, "--to", tmp_path / "painted")
    assert (said.code, "Nobody has drawn a polygon" in said.err) == (2, True)
    said = command("review", "check", work)
    assert said.out == f"1 edit in {work}/review.sqlite: all is as the log says.\n"
    database = Database.open(f"{work}/review.sqlite")
    with database.write() as connection:
        connection.execute(sa.text("UPDATE objects SET person = 'bo', seq = 7"))
    said = command("review", "check", work)
    assert said.code == 1
    assert "1 fault.\nWhat is kept of object" in said.err
    with database.write() as connection:
        connection.execute(sa.text("UPDATE objects SET person = 'ann', seq = 1"))
    database.close()


def test_an_edited_export_is_imported(work: str, command: Command, tmp_path: Path) -> None:
    log = tmp_path / "other.sqlite"
    open_log(str(log)).close()
    file = tmp_path / "edited.csv"
    command("review", "export", work, "--to", file, "--database", log)
    file.write_text(file.read_text().replace('"undecided"', '"rejected"', 2))
    asked = ["review", "import", work, file, "--database", log]
    said = command(*asked, "--dry-run")
    assert said.out == f"Would import {file} into the review of classified: 2 rejected, 98 unchanged.\n"
    said = command(*asked, "--person", "bo")
    assert said.out == f"Imported {file} into the review of classified: 2 rejected, 98 unchanged.\n"
    said = command(*asked)
    assert said.out == f"Imported {file} into the review of classified: 100 unchanged.\n"
    file.write_text(file.read_text().replace('"rejected"', '"accepted"', 1))
    said = command(*asked)
    assert "was changed since by bo (reject, edit 1).\nImported" in said.out
    assert "99 unchanged, 1 conflicts" in said.out
    said = command(*asked, "--edit", "9")
    assert (said.code, "There is no edit 9: the last one is 2." in said.err) == (2, True)


def test_decisions_are_carried_to_a_table_made_anew(tmp_path: Path, command: Command) -> None:
    work = job_to_review(tmp_path)
    said = command("review", "carry", work)
    assert (said.code, "nobody has reviewed anything here yet" in said.err) == (2, True)
    id = str(cf.open(work).table("classified").to_arrow()["id"][0])
    place = {"kind": "point", "points": [[0.5, 0.5, 0.5]]}
    decide(work, {"operation": "reject", "object": id}, {"operation": "add", "object": "7", "shape": place})
    said = command("review", "carry", work)
    assert "Nothing was decided on classified before it was made anew." in said.err
    cf.export_review(work, tmp_path / "older.csv")
    job_to_review(tmp_path, diameter=13, restart="segment")
    server = [sys.executable, "-m", "cli.main", "review", work]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert lines[1].startswith("classified was made anew since 2 objects of it were reviewed: `chunkflow")
    said = command(
        "review", "carry", work, "--from", tmp_path / "older.csv", "--distance", "0.01", "--dry-run"
    )
    assert f"Nothing stands for these objects of then: {id}.\nWould carry over" in said.out
    said = command("review", "carry", work)
    assert said.out == "Carried over to the review of classified: 1 rejected, 1 added.\n"


def test_without_its_package_a_review_is_refused(work: str) -> None:
    command = [sys.executable, "-c", WITHOUT, "review", work]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert (
        "Keeping a review needs the package sqlalchemy: pip install 'chunkflow-ray[service]'." in said.stderr
    )


def test_paragraphs_of_the_help_are_one_line_each() -> None:
    """The terminal's width wraps them, not the docstring's."""
    group = typer.main.get_command(build(["train"]))
    help = group.commands["train"].commands["classify"].help  # type: ignore[attr-defined]
    assert "or annotations as Neuroglancer, napari and cellfinder save them." in help
