"""A package of an extra that is not installed is named, with the pip line that brings it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from chunkflow.data.encodings import CODECS, require_codec
from chunkflow.errors import BadInput
from chunkflow.extras import EXTRA_OF, optional_import

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {
    "skactiveml": "scikit-activeml",
    "crackle": "crackle-codec",
    "googleapiclient": "google-api-python-client",
    "google_auth_httplib2": "google-auth-httplib2",
}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=]", text)[0] for text in requirements}


@pytest.mark.parametrize(("package", "extra"), EXTRA_OF.items())
def test_an_extra_brings_the_packages_that_are_said_to_be_in_it(package: str, extra: str) -> None:
    distribution = DISTRIBUTIONS.get(package, package)
    assert distribution in names(PROJECT["optional-dependencies"][extra])
    assert distribution not in names(PROJECT["dependencies"])


def test_a_module_that_is_there_is_imported() -> None:
    assert optional_import("h5py.version", "Reading a.h5").version


@pytest.mark.parametrize(("package", "extra"), EXTRA_OF.items())
def test_a_missing_package_is_named_with_the_line_that_brings_it(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = rf"^Reading a\.file needs the package {package}: pip install 'chunkflow-ray\[{extra}\]'\.$"
    with pytest.raises(BadInput, match=said):
        optional_import(f"{package}.inside", "Reading a.file")


def test_a_package_that_does_not_load_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is installed, but something that it needs is not: to install it again would not help."""
    monkeypatch.syspath_prepend(tmp_path)
    for package, line in (("nd2", "import no_such_package"), ("readlif", "raise ImportError('no libx.so')")):
        (tmp_path / f"{package}.py").write_text(line)
        monkeypatch.delitem(sys.modules, package, raising=False)
        with pytest.raises(BadInput, match=rf"needs the package {package}, which cannot be loaded: .*no"):
            optional_import(package, "Reading a.file")


@pytest.mark.parametrize(("encoding", "package"), CODECS.items())
def test_an_encoding_without_its_codec_is_refused(
    encoding: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_codec("dapi", encoding)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        BadInput, match=rf"layer dapi, as it is stored as {encoding}, needs the package {package}:"
    ):
        require_codec("dapi", encoding)
    require_codec("dapi", "raw")
