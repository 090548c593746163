"""Settings laid over a job as read from its file."""

from __future__ import annotations

from typing import Any

import yaml

from chunkflow.errors import BadInput


def lay_over(document: dict[str, Any], setting: str) -> None:
    """Set a key as typed, its value as in YAML: layers.dapi=URL, tasks.segment.diameter=9."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise BadInput(f"A setting is key=value, as in layers.dapi=file:///data/dapi, not {setting!r}.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"The setting {key} takes a value as in YAML, not {text!r}.") from error
    set_key(document, key, value)


def set_key(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a key of a job as read from its file, by its dotted name, as in tasks.segment.diameter."""
    known, name = document.get("layers"), key.strip().removeprefix("layers.")
    if isinstance(value, str) and isinstance(known, dict) and name != key.strip() and name in known:
        set_place(document, name, value)
        return
    *path, last = key.strip().split(".")
    place: Any = document
    for part in path:
        place = _inside(place, part, key)
    if not isinstance(place, dict):
        raise BadInput(f"The setting {key}: there is no such key in the job.")
    place[last] = value


def set_place(document: dict[str, Any], name: str, url: str) -> None:
    """Say where a layer of a job lies; how it is stored stays as the file says."""
    layers = document.setdefault("layers", {})
    if not isinstance(layers, dict):
        raise BadInput(f"The layer {name}: the job's layers must be names with places.")
    entry = layers.get(name)
    layers[name] = {**entry, "url": url} if isinstance(entry, dict) else url


def _inside(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):  # tasks, by name
        for item in place:
            if isinstance(item, dict) and part in item:
                item[part] = item[part] if isinstance(item[part], dict) else {}
                return item[part]
        raise BadInput(f"The setting {key}: the job has no task {part!r}.")
    if not isinstance(place, dict):
        raise BadInput(f"The setting {key}: there is no such key in the job.")
    if isinstance(place.get(part), str) and key.startswith("layers."):
        place[part] = {"url": place[part]}
    return place.setdefault(part, {})
