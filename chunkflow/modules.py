"""The modules beside a job file: tasks of the user's own, and what they import from there.

Their files are read once, when the job is made: what is loaded, what its hash is taken of and what goes
along to workers are the same bytes, whatever is written to the files meanwhile. They are loaded under names
of their own, so that two jobs in one process, each with a smooth.py, do not see each other's:

1. The files that a job reads become a package named after their folder and their content.
2. Each module of it is given an `__import__` by which bare names that were read mean the modules of this
   package, also in functions that import later, in any thread. `sys.path` stays as it is.
3. Python's own modules and installed packages come first: a file beside a job may bear the name of one, and
   is not taken for it. Nor is a folder without `__init__.py` taken for a package that Python finds elsewhere,
   as it may be that package's checkout.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import site
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from chunkflow.errors import BadInput

MOST_BYTES = 10_000_000
OURS = frozenset({"chunkflow", "tasks", "cluster", "cli"})
"""Never taken from a job's folder, which may be a checkout of chunkflow."""
_PACKAGE = "chunkflow_beside_"


@dataclass(frozen=True)
class Modules:
    """The modules of one folder, as their files were when read; of none, where a job has no file."""

    folder: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """What was read, by path in the folder."""

    def reading(self, names: Iterable[str]) -> Modules:
        """The same with the files of these modules and of those that they import from the folder.

        What was read already is kept as it is.
        """
        files = dict(sorted({**self.files, **_with_imports(names, self._read)}.items()))
        size = sum(map(len, files.values()))
        if size > MOST_BYTES:
            raise BadInput(
                f"The Python files beside the job file take {size / 1e6:.0f} MB; move the job elsewhere."
            )
        return replace(self, files=files)

    def has(self, name: str) -> bool:
        """Whether a module was read from the folder."""
        return bool(self._known(name.partition(".")[0]))

    def load(self, name: str) -> ModuleType:
        """Import a module as it was read, or else as Python finds it."""
        return importlib.import_module(f"{self._make_package()}.{name}" if self.has(name) else name)

    def code(self, name: str) -> str:
        """A hash of all that a module brings from the folder; empty where it lies elsewhere."""
        sources = self.sources([name])
        return _hash(f"{path}\0{_hash(data)}" for path, data in sources.items()) if sources else ""

    def sources(self, names: Iterable[str]) -> dict[str, bytes]:
        """The files that were read of these modules and of those that they import, by path."""
        return _with_imports(names, self._known)

    def _known(self, top: str) -> dict[str, bytes]:
        files = self.files.items()
        return {path: data for path, data in files if path == f"{top}.py" or path.startswith(f"{top}/")}

    def _read(self, top: str) -> dict[str, bytes]:
        """The files of a module that was not read yet; packages are taken whole."""
        if self.folder is None or self.has(top) or not top.isidentifier() or _is_installed(top):
            return {}
        package = self.folder / top
        is_package = (package / "__init__.py").is_file() or not _is_found(top)
        found = (self.folder / f"{top}.py", *(_sources_in(package) if is_package else ()))
        try:
            read = {file: file.read_bytes() for file in found if file.is_file()}
        except OSError as error:
            raise BadInput(
                f"{error.filename} cannot be read ({error.strerror}); the job's own tasks import it."
            ) from error
        return {file.relative_to(self.folder).as_posix(): data for file, data in read.items()}

    @cached_property
    def _name(self) -> str:
        """The name of the package that the files are loaded into: another for others."""
        content = (f"{path}\0{_hash(data)}" for path, data in self.files.items())
        return _PACKAGE + _hash([str(self.folder), *content])

    def _make_package(self) -> str:
        """Make the package that the files are loaded into, where this process has none yet; its name."""
        package = self._name
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)  # before the one for folders, which finds files as they are now
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
        self.__path__: list[str] = []  # _Finder alone finds its modules
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
    """Finds the modules of such packages among what was read."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, name = fullname.partition(".")
        package = sys.modules.get(top)
        if not isinstance(package, _Package) or package.modules.folder is None:
            return None
        place, files = name.replace(".", "/"), package.modules.files
        folder = package.modules.folder / place
        for inside, locations in ((f"{place}/__init__.py", [str(folder)]), (f"{place}.py", None)):
            if inside in files:
                file = str(package.modules.folder / inside)
                loader = _Loader(fullname, file, files[inside], package)
                return importlib.util.spec_from_file_location(
                    fullname, file, loader=loader, submodule_search_locations=locations
                )
        if any(inside.startswith(f"{place}/") for inside in files):
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(folder)]
            return spec
        return None


class _Loader(SourceFileLoader):
    """Runs a module as it was read, with the imports of its package."""

    def __init__(self, fullname: str, path: str, source: bytes, package: _Package) -> None:
        super().__init__(fullname, path)
        self._source = source
        self._builtins = package.builtins

    def get_data(self, path: str) -> bytes:
        return self._source if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType | None:
        # never from __pycache__, which goes by the file as it is now
        code: CodeType = self.source_to_code(self._source, self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)


_FINDER = _Finder()


def _is_installed(top: str) -> bool:
    user = site.getusersitepackages()  # which most environments leave out
    places = [*site.getsitepackages(), *([user] if user in sys.path else [])]
    return top in OURS or top in sys.stdlib_module_names or PathFinder.find_spec(top, places) is not None


def _is_found(top: str) -> bool:
    """Whether Python itself finds a module of this name, and more than folders that lack `__init__.py`."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # it is loaded, and does not tell from where
        return True
    return spec is not None and spec.origin is not None


def _sources_in(package: Path) -> Iterator[Path]:
    """The files of a package, without what hidden folders hold, as the copies that notebooks keep."""
    for file in package.rglob("*.py"):
        if not any(part.startswith(".") for part in file.relative_to(package).parts):
            yield file


def _with_imports(names: Iterable[str], files_of: Callable[[str], dict[str, bytes]]) -> dict[str, bytes]:
    """The files of modules and of all that they import, as far as `files_of` has them, sorted by path."""
    found: dict[str, bytes] = {}
    waiting, known = [name.partition(".")[0] for name in names], set[str]()
    while waiting:
        top = waiting.pop()
        if top not in known:
            known.add(top)
            files = files_of(top)
            waiting += [name for data in files.values() for name in _imported(data)]
            found |= files
    return dict(sorted(found.items()))


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
