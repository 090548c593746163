"""A work folder as the commands see it: what its ledger says of the job that runs or ran there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo, full_url
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan, plan_of_spec
from chunkflow.errors import BadInput, Incomplete
from chunkflow.geometry import Box
from chunkflow.jobs.notes import notes
from chunkflow.modules import Modules
from chunkflow.words import plain


@dataclass(frozen=True)
class Work:
    """A work folder with a ledger."""

    url: str
    ledger: Ledger

    @classmethod
    def open(cls, location: str) -> Work:
        url = full_url(location)
        ledger = Ledger.load(Folder(url))
        if ledger.state.job is None:
            raise BadInput(f"{plain(url)} is not a work folder: no job has run there yet.")
        return cls(url, ledger)

    @property
    def folder(self) -> Path:
        """Where the job file lies, beside which the user's own tasks are; of a job that was submitted from
        this machine its place here, as the folder that it ran from is gone."""
        ran_from = Path(str(self.ledger.state.versions.get("folder", ".")))
        if ran_from.is_dir():
            return ran_from
        lay = (Path(str(known.get("folder", ""))) for known in notes(self.url))
        return next((folder for folder in lay if folder.is_dir()), ran_from)

    def job(self) -> Job:
        assert self.ledger.state.job is not None
        return self.ledger.state.job.plan.job

    def box(self) -> Box | None:
        assert self.ledger.state.job is not None
        return self.ledger.state.job.plan.box

    def plan(self) -> Plan:
        """The plan as it was recorded; the user's own tasks are found where the job file lay."""
        assert self.ledger.state.job is not None
        return plan_of_spec(self.ledger.state.job.plan, Modules(self.folder))

    def table(self, name: str) -> TableInfo:
        """A table of the job, which must be finished if the job makes it."""
        plan, records = self.plan(), self.ledger.stages
        product = plan.products.get((name, 0))
        if product is None or not isinstance(product.info, TableInfo):
            tables = [p.name for p in plan.products.values() if isinstance(p.info, TableInfo)]
            named = sorted(name for name in tables if "." not in name)
            said = f"has no table {name}; its tables" if name else "is meant: name one of its tables"
            raise BadInput(f"The job in {self.url} {said}: {', '.join(named) or 'none'}.")
        stages = [stage for stage in plan.stages if stage.step == product.maker]
        if not all(stage.name in records and records[stage.name].is_complete for stage in stages):
            raise Incomplete(f"The table {name} is not finished: run the job to its end first.")
        return product.info
