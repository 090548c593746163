"""What judging is tested with, made once."""

from __future__ import annotations

import pytest

from tests.support.models.judging import inputs_to_judge


@pytest.fixture(scope="package")
def to_judge(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An image and another, models, and a table in several files, by name."""
    return inputs_to_judge(tmp_path_factory.mktemp("to_judge"))
