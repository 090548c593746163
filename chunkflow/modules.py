"""The modules beside a job file: tasks of the user's own, and what they import from there.

They are loaded from their files under names of their own, so that two jobs in one process, each with a
smooth.py, do not see each other's, and a file that was changed is loaded anew:

1. The folder becomes a package named after itself and the code that the module brings from it.
2. Each module of it is given an `__import__` by which bare names that lie in the folder mean the modules of
   this package, also in functions that import later, in any thread. `sys.path` stays as it is.
3. Python's own modules and installed packages come first: a file beside a job may bear the name of one, and
   is not taken for it.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import site
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from chunkflow.errors import BadInput

MOST_BYTES = 10_000_000
OURS = frozenset({"chunkflow", "tasks", "cluster", "cli"})
"""Never taken from a job's folder, which may be a checkout of chunkflow."""
_PACKAGE = "chunkflow_beside_"


@dataclass(frozen=True)
class Modules:
    """The modules of one folder; of none, where a job has no file."""

    folder: Path | None = None

    def has(self, name: str) -> bool:
        """Whether a module lies in the folder, and is not one that is installed."""
        top = name.partition(".")[0]
        return top.isidentifier() and any(self._files(top)) and not _is_installed(top)

    def load(self, name: str) -> ModuleType:
        """Import a module from the folder, or else as Python finds it."""
        return importlib.import_module(f"{self._package(name)}.{name}" if self.has(name) else name)

    def code(self, name: str) -> str:
        """A hash of all that a module brings from the folder; empty where it lies elsewhere."""
        sources = self.sources([name])
        return _hash(f"{path}\0{_hash(data)}" for path, data in sources.items()) if sources else ""

    def sources(self, names: Iterable[str]) -> dict[str, bytes]:
        """The files of these modules and of those that they import from the folder, by path.

        Packages are taken whole.
        """
        found: dict[str, bytes] = {}
        waiting, known = [name.partition(".")[0] for name in names], set[str]()
        while waiting:
            top = waiting.pop()
            if top in known or not self.has(top):
                continue
            known.add(top)
            files = {self._inside(file): file.read_bytes() for file in self._files(top)}
            waiting += [name for data in files.values() for name in _imported(data)]
            found |= files
        size = sum(map(len, found.values()))
        if size > MOST_BYTES:
            raise BadInput(
                f"The Python files beside the job file take {size / 1e6:.0f} MB; move the job elsewhere."
            )
        return dict(sorted(found.items()))

    def _files(self, top: str) -> Iterator[Path]:
        if self.folder is not None:
            yield from filter(Path.is_file, [self.folder / f"{top}.py"])
            yield from (self.folder / top).rglob("*.py")

    def _inside(self, file: Path) -> str:
        assert self.folder is not None
        return file.relative_to(self.folder).as_posix()

    def _package(self, name: str) -> str:
        """The package that a module is loaded into: another for other code."""
        package = _PACKAGE + _hash([str(self.folder), self.code(name)])
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)  # before the one for folders, which knows these packages too
        sys.modules.setdefault(package, _Package(package, self))
        return package


def name_in_folder(module: str) -> str:
    """The name by which a job file knows a module, whatever it was loaded as."""
    return module.partition(".")[2] if module.startswith(_PACKAGE) else module


def folder_of(kind: type) -> Path | None:
    """The folder in which a class's module or its package lies; None where it is installed."""
    module = sys.modules[kind.__module__.partition(".")[0]]
    if isinstance(module, _Package):
        return module.modules.folder
    file = getattr(module, "__file__", None)
    if file is None or _is_installed(module.__name__):
        return None
    return Path(file).parent.parent if hasattr(module, "__path__") else Path(file).parent


class _Package(ModuleType):
    """A folder as a package: its modules import each other through it."""

    def __init__(self, name: str, modules: Modules) -> None:
        super().__init__(name)
        self.__path__ = [str(modules.folder)]
        self.modules = modules
        self.builtins = {**vars(builtins), "__import__": self._import}

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level or not self.modules.has(name):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        found = builtins.__import__(f"{self.__name__}.{name}", globals, locals, fromlist or ())
        own: ModuleType = found if fromlist else getattr(found, name.partition(".")[0])
        return own


class _Finder(MetaPathFinder):
    """Finds the modules of such packages, from their source alone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = sys.modules.get(fullname.partition(".")[0])
        if not isinstance(package, _Package):
            return None
        for place in path or ():
            folder = Path(place) / fullname.rpartition(".")[2]
            for file, inside in ((folder / "__init__.py", [str(folder)]), (folder.with_suffix(".py"), None)):
                if file.is_file():
                    loader = _Loader(fullname, str(file), package)
                    return spec_from_file_location(
                        fullname, file, loader=loader, submodule_search_locations=inside
                    )
            if folder.is_dir():
                spec = ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [str(folder)]
                return spec
        return None


class _Loader(SourceFileLoader):
    """Runs a module with the imports of its package."""

    def __init__(self, fullname: str, path: str, package: _Package) -> None:
        super().__init__(fullname, path)
        self._builtins = package.builtins

    def get_code(self, fullname: str) -> CodeType | None:
        # never from __pycache__, which takes a file that was changed within a second for the same
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)


_FINDER = _Finder()


def _is_installed(top: str) -> bool:
    places = [*site.getsitepackages(), site.getusersitepackages()]
    return top in OURS or top in sys.stdlib_module_names or PathFinder.find_spec(top, places) is not None


def _imported(source: bytes) -> Iterator[str]:
    """The first names of all modules that a source imports, at its top or later."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # which is said when it is loaded
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):  # from . import helper
            yield from (alias.name for alias in node.names)


def _hash(parts: bytes | Iterable[str]) -> str:
    data = parts if isinstance(parts, bytes) else "\n".join(parts).encode()
    return sha256(data).hexdigest()[:12]
