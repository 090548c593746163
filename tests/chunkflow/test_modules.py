"""A user's own modules: of each job its own, whoever runs beside it, and with code that is held against the
ledger."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from chunkflow.modules import Modules
from tasks.cells.segment import Segment
from tests.support.jobs import make_job, make_layer, read_layer, run_job

TASK = """
from chunkflow.task import Image, Out, Task
{imports}


class Times(Task):
    image: Image
    made: Image = Out()

    def map(self, cell, image):
        {within}
        return image.like(image.array * {factor})
"""


def task(factor: str, imports: str = "", within: str = "") -> str:
    return TASK.format(factor=factor, imports=imports, within=within or "pass")


def job_beside(folder: Path, module: str, others: Mapping[str, str] | None = None) -> Job:
    """A job whose task is in own.py beside it, which may import others from there."""
    for name, text in {"own.py": module, **(others or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    make_layer(folder / "image", np.ones((3, 3, 3), np.uint16))
    layers = {name: str(folder / name) for name in ("image", "made")}
    fields = {"image": "image", "made": "made"}
    return make_job(folder, layers, [{"own:Times": fields}], chunk=[64, 64, 64])


def read_again(job: Job) -> Job:
    """The same job with its files as they are now."""
    return job.beside(Modules(job.modules.folder))


def factor_of(job: Job) -> int:
    """By what the job has multiplied."""
    assert run_job(job) == "complete"
    (factor,) = np.unique(read_layer(job.layers["made"].url))
    return int(factor)


def test_two_jobs_in_one_process_each_have_their_own_task(tmp_path: Path) -> None:
    before = list(sys.path)
    jobs = [job_beside(tmp_path / str(n), task(str(n))) for n in (2, 3)]
    assert [factor_of(job) for job in jobs] == [2, 3]
    assert sys.path == before


HELPED = {
    "at the top": task("helper.FACTOR", "import helper"),
    "under another name": task("FACTOR", "from helper import FACTOR as FACTOR"),
    "while it runs": task("helper.FACTOR", within="import helper"),
    "relative": task("FACTOR", "from .helper import FACTOR"),
    "by way of another": task("between.FACTOR", "import between"),
    "of a package": task("tools.deep.FACTOR", "import tools.deep"),
    "of a package, by another name": task("deep.FACTOR", "import tools.deep as deep"),
    "of a package, relative": task("FACTOR", "from tools import FACTOR"),
}


@pytest.mark.parametrize("how", HELPED)
def test_what_a_task_imports_is_that_of_its_own_job(tmp_path: Path, how: str) -> None:
    others = {"between.py": "from helper import FACTOR", "tools/__init__.py": "from .deep import FACTOR"}
    others |= {"tools/deep.py": "from helper import FACTOR"}
    jobs = [
        job_beside(tmp_path / str(n), HELPED[how], {"helper.py": f"FACTOR = {n}", **others}) for n in (2, 3)
    ]
    assert [factor_of(job) for job in jobs] == [2, 3]


def test_jobs_in_two_threads_each_have_their_own_modules(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    module = task("helper.FACTOR", within="import helper")

    def run(n: int) -> int:
        job = job_beside(tmp_path / str(n), module, {"helper.py": f"FACTOR = {n}"})
        both.wait(60)
        return factor_of(job)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, (2, 3))) == [2, 3]


def test_what_is_installed_is_not_taken_from_the_folder(tmp_path: Path) -> None:
    text = task("np.uint16(2)", "import numpy as np\nimport queue")
    folder = tmp_path / "job"
    raising = "raise ImportError('this is no package')"
    job = job_beside(folder, text, dict.fromkeys(("numpy.py", "queue.py", "chunkflow/__init__.py"), raising))
    assert factor_of(job) == 2
    read = Modules(folder).reading(["numpy", "own", "../job/own"])
    assert not read.has("numpy")
    assert read.has("own")
    assert not read.has("../job/own")
    assert list(job.sources()) == ["own.py"]


def test_a_checkout_is_not_taken_for_the_package_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a whole package is, and a folder that Python finds as no more than that."""
    wrong = ("job/checkout/setup.py", "job/checkout/checkout/__init__.py", "path/whole/__init__.py")
    files = dict.fromkeys(wrong, "raise ImportError") | {"job/whole/__init__.py": "FACTOR = 5"}
    files |= {"path/checkout/__init__.py": "FACTOR = 3", "job/loose/deep.py": "FACTOR = 2"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for folder in ("path", "job"):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    text = task("checkout.FACTOR * loose.deep.FACTOR * whole.FACTOR", "import checkout, loose.deep, whole")
    job = job_beside(tmp_path / "job", text)
    assert list(job.sources()) == ["loose/deep.py", "own.py", "whole/__init__.py"]
    assert factor_of(job) == 30
    monkeypatch.delitem(sys.modules, "checkout")


def test_what_lies_in_the_users_site_counts_where_python_looks_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("user", "job"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text("")
    monkeypatch.setattr("site.getusersitepackages", lambda: str(tmp_path / "user"))
    assert Modules(tmp_path / "job").reading(["helper"]).has("helper")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "user")])
    assert not Modules(tmp_path / "job").reading(["helper"]).has("helper")


def test_hidden_copies_are_no_part_of_a_package(tmp_path: Path) -> None:
    copies = ["tools/.ipynb_checkpoints/deep-checkpoint.py", "tools/deeper/.trash/deep.py"]
    others = dict.fromkeys(["tools/__init__.py", "tools/deeper/deep.py", *copies], "")
    job = job_beside(tmp_path / ".hidden", task("1", "import tools"), others)
    assert list(job.sources()) == ["own.py", "tools/__init__.py", "tools/deeper/deep.py"]


@pytest.mark.parametrize("changed", ["own", "helper", "tools/deep"])
def test_a_changed_task_is_refused_until_it_is_cleared(tmp_path: Path, changed: str) -> None:
    module = task("FACTOR", within="from tools import FACTOR")
    others = {"helper.py": "FACTOR = 2", "tools/__init__.py": "from .deep import *"}
    others |= {"tools/deep.py": "from helper import FACTOR", "apart.py": "FACTOR = 9"}
    job = job_beside(tmp_path, module, others)
    assert factor_of(job) == 2
    (tmp_path / "apart.py").write_text("FACTOR = 8")
    assert factor_of(read_again(job)) == 2, "which the task does not import"
    file = tmp_path / f"{changed}.py"
    file.write_text(file.read_text() + "\n# changed\n")
    assert factor_of(job) == 2, "a job goes on with what it read"
    with pytest.raises(BadInput, match=r'tasks\.Times\.code: "\w{12}" -> "\w{12}"\n.*restart TASK'):
        run_job(read_again(job))
    (tmp_path / "helper.py").write_text("FACTOR = 5")
    job = read_again(job)
    assert run_job(job, restart="Times") == "complete"
    assert factor_of(job) == 5


def test_what_is_recorded_and_sent_is_what_runs(tmp_path: Path) -> None:
    module = task("helper.FACTOR", within="import helper")
    job = job_beside(tmp_path, module, {"helper.py": "FACTOR = 2"})
    run = Run.of(job, Means(serial=True))
    (tmp_path / "helper.py").write_text("FACTOR = 7")
    (tmp_path / "own.py").unlink()
    assert job.sources() == {"helper.py": b"FACTOR = 2", "own.py": module.encode()}
    run.start()
    assert run.wait() == "complete"
    assert factor_of(job) == 2
    (tmp_path / "own.py").write_text(module)
    with pytest.raises(BadInput, match=r"tasks\.Times\.code"):
        run_job(read_again(job))


def test_tasks_of_a_job_share_what_they_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = task("1", "import helper")
    beside = Modules(job_beside(tmp_path, text, {"helper.py": "", "other.py": text}).modules.folder)
    read = beside.reading(["own", "other"])
    own, other = (read.load(name) for name in ("own", "other"))
    assert own is not other
    assert own.helper is other.helper
    assert read.code("own") == beside.reading(["own"]).code("own"), "whatever else the job reads"
    monkeypatch.setattr("chunkflow.modules._hash", lambda parts: pytest.fail("hashed again"))
    assert read.load("own") is own


def test_what_was_read_is_kept_as_more_is_read(tmp_path: Path) -> None:
    for name, text in {"own": "import helper", "helper": "", "more": "import helper"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    before = Modules(tmp_path).reading(["own"])
    (tmp_path / "helper.py").write_text("changed")
    more = before.reading(["own", "more"])
    assert more.files == {**before.files, "more.py": b"import helper"}
    assert Modules(tmp_path).reading(["helper"]).files == {"helper.py": b"changed"}


def test_files_that_cannot_go_along_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.modules.MOST_BYTES", 100)
    with pytest.raises(BadInput, match=r"^The Python files beside the job file take 0 MB; move the job"):
        job_beside(tmp_path, task("1"))


def test_what_goes_along_to_workers_is_what_the_task_imports(tmp_path: Path) -> None:
    tools = ["tools/__init__.py", "tools/deep.py", "tools/other.py"]
    others = dict.fromkeys(["apart.py", "helper.py", *tools], "")
    job = job_beside(tmp_path, task("1", "import tools.deep", within="import helper"), others)
    assert list(job.sources()) == ["helper.py", "own.py", *tools]
    sent = tmp_path / "sent"
    for path, data in job.sources().items():
        (sent / path).parent.mkdir(parents=True, exist_ok=True)
        (sent / path).write_bytes(data)
    (entry,) = job.tasks
    assert entry.code(job.beside(Modules(sent)).modules) == entry.code(job.modules) != ""
    assert not entry.code(Modules())


def test_a_job_takes_tasks_as_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_beside(tmp_path, task("helper.FACTOR", "import helper"), {"helper.py": "FACTOR = 2"})
    monkeypatch.syspath_prepend(str(tmp_path))
    own = importlib.import_module("own").Times(image="image", made="made")
    layers = {name: f"file://{tmp_path / name}" for name in ("image", "made", "nuclei", "again")}
    keys = {"work": f"file://{tmp_path / 'work'}", "chunk": (64, 64, 64), "layers": layers}
    segment = Segment(image="made", labels="nuclei", diameter=9)
    named = ("twice", own.model_copy(update={"made": "again"}))
    job = Job(name="objects", tasks=[own, segment, {"measure": {"labels": "nuclei"}}, named], **keys)
    assert [(entry.name, entry.type) for entry in job.tasks] == [
        ("Times", "own:Times"),
        ("segment", "segment"),
        ("measure", "measure"),
        ("twice", "own:Times"),
    ]
    assert job.tasks[1].parameters == {"image": "made", "labels": "nuclei", "diameter": 9.0}
    assert list(job.sources()) == ["helper.py", "own.py"]
    assert factor_of(job.until("Times")) == 2
    for module in ("own", "helper"):
        monkeypatch.delitem(sys.modules, module)


def test_tasks_by_name_lie_in_the_working_folder_or_beside_the_job_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = job_beside(tmp_path / "read", task("3"))
    made = job_beside(tmp_path / "made", task("2"))
    monkeypatch.chdir(tmp_path / "made")
    keys = {"name": "made", "work": "work", "layers": made.layers, "chunk": (64, 64, 64)}
    jobs = [
        Job(tasks=[written], **keys) for written in ("own:Times", {"own:Times": made.tasks[0].parameters})
    ]
    assert [job.modules.folder for job in jobs] == [Path.cwd()] * 2
    assert [list(job.sources()) for job in jobs] == [["own.py"]] * 2
    assert factor_of(jobs[1]) == 2
    record = jobs[1].model_dump(mode="json")
    assert Job.model_validate(record).modules == Modules(), "which says nothing of the folder"
    for document in (record, read.model_dump() | {"tasks": ["own:Times"]}):
        assert Job.from_document(document, tmp_path / "read").sources() == read.sources()


def test_tasks_as_objects_lie_in_one_folder(tmp_path: Path) -> None:
    kinds = []
    for name in ("one", "two"):
        job = job_beside(tmp_path / name, task("1"))
        kinds.append(type(job.tasks[0].load(job.modules)))
    tasks = [kind(image="image", made=kind.__module__) for kind in kinds]
    assert Job(name="objects", work="work", tasks=tasks[:1]).modules.folder == tmp_path / "one"
    with pytest.raises(BadInput, match=f"lie in {tmp_path}/one and {tmp_path}/two: put their files into one"):
        Job(name="objects", work="work", tasks=tasks)


def test_a_task_that_workers_cannot_import_is_refused() -> None:
    class Here(Segment):
        """A task of a function."""

    scope = {"__name__": "__main__", "Segment": Segment}
    exec("class There(Segment):\n    pass", scope)  # as in a notebook's cell
    for kind in (Here, scope["There"]):
        with pytest.raises(
            BadInput, match="defined where workers cannot import it: put its class at the top"
        ):
            Job(name="objects", work="work", tasks=[kind(image="image", labels="nuclei")])
