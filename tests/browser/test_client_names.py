"""The names of Neuroglancer's client that our scripts use and that no documentation promises.

Each has a line with what must hold of it in the page of a review: where another Neuroglancer lacks one, the
test of this name fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from chunkflow.people.service.local.reviewer import review
from tests.support.browser.viewer import Viewer
from tests.support.commands import ROOT
from tests.support.people.review_page import open_page

STATIC = ROOT / "chunkflow" / "people" / "service" / "static"
WITH = """async () => {
  const layer = viewer.layerManager.getLayerByName("review").layer;
  const source = layer.localAnnotations;
  const made = {
    type: 0, id: "7000", point: new Float32Array([20, 20, 24]), properties: [0, 0, 0], relatedSegments: [],
  };
  // What `use` says of a point that is there meanwhile; nothing of it is an edit.
  const held = (use) => {
    let said;
    review.points.quietly(() => {
      const reference = source.add(made);
      try {
        said = use(reference);
      } finally {
        if (source.get(made.id)) source.delete(reference);
        reference.dispose();
      }
    });
    return said;
  };
  // How often a signal says something while `change` goes on.
  const heard = (signal, change) => {
    let count = 0, over = false;
    signal.add(() => { if (!over) count += 1; });
    change();
    over = true;
    return count;
  };
  // Whether a signal says that the view has moved.
  const told = (signal) => new Promise((resolve) => {
    signal.add(() => resolve(true));
    viewer.position.value = viewer.position.value.map((n) => n + 1);
    setTimeout(() => resolve(false), 5000);
  });
  const bound = () => new Promise((resolve) => {
    viewer.inputEventBindings.global.set("keyq", "names-tried");
    viewer.element.addEventListener("action:names-tried", () => resolve(true), { once: true });
    viewer.element.dispatchEvent(new KeyboardEvent("keydown", { code: "KeyQ", key: "q", bubbles: true }));
    setTimeout(() => resolve(false), 2000);
  });
  return %s;
}"""
READ_ANEW = "review.all.sources.every((source) => %s)"
NAMES = {
    "window.viewer": "typeof window.viewer === 'object'",
    "viewer.state.changed.add": "await told(viewer.state.changed)",
    "viewer.state.toJSON": "viewer.state.toJSON().layers.some(({ name }) => name === 'review')",
    "viewer.element": "viewer.element instanceof HTMLElement",
    "viewer.inputEventBindings.global.set": "await bound()",
    "viewer.layerManager.managedLayers": "viewer.layerManager.managedLayers.length > 2",
    "viewer.layerManager.getLayerByName": "viewer.layerManager.getLayerByName('all').name === 'all'",
    "viewer.position.value": (
        "viewer.position.value instanceof Float32Array && viewer.position.value.length === 3"
    ),
    "viewer.position.changed.add": "await told(viewer.position.changed)",
    "viewer.coordinateSpace.value.scales": (
        "viewer.coordinateSpace.value.scales.length === 3"
        " && viewer.coordinateSpace.value.scales.every((scale) => scale > 1e-9 && scale < 1e-3)"
    ),
    "viewer.selectionDetailsState.location.visible": (
        "typeof viewer.selectionDetailsState.location.visible === 'boolean'"
    ),
    "viewer.mouseState.updateUnconditionally": (
        "typeof viewer.mouseState.updateUnconditionally() === 'boolean'"
    ),
    "viewer.mouseState.active": "typeof viewer.mouseState.active === 'boolean'",
    "viewer.mouseState.pickedAnnotationId": "'pickedAnnotationId' in viewer.mouseState",
    "viewer.mouseState.position": "'position' in viewer.mouseState",
    "viewer.mouseState.unsnappedPosition": "'unsnappedPosition' in viewer.mouseState",
    "viewer.crossSectionScale.value": "viewer.crossSectionScale.value > 0",
    "viewer.display.panels": "[...viewer.display.panels].every((one) => one.element instanceof HTMLElement)",
    "panel.sliceView.projectionParameters.value.viewportNormalInGlobalCoordinates": (
        "[...viewer.display.panels].some((one) => Math.abs("
        "one.sliceView?.projectionParameters.value.viewportNormalInGlobalCoordinates[2]) === 1)"
    ),
    "layer.selectAnnotation": "typeof Object.getPrototypeOf(layer).selectAnnotation === 'function'",
    "layer.tool.toJSON": "layer.tool.toJSON() === 'annotatePoint'",
    "layer.tool.restoreState": (
        "(() => { layer.tool.restoreState('annotateLine'); const said = layer.tool.toJSON();"
        " layer.tool.restoreState('annotatePoint'); return said === 'annotateLine' })()"
    ),
    "layer.tool.changed.add": (
        "heard(layer.tool.changed, () => layer.tool.restoreState('annotateSphere')) > 0"
        " && (layer.tool.restoreState('annotatePoint'), true)"
    ),
    "layer.localAnnotations": "typeof layer.localAnnotations === 'object'",
    "layer.annotationStates.states": (
        "viewer.layerManager.getLayerByName('all').layer.annotationStates.states.length === 1"
    ),
    "state.source": "layer.annotationStates.states[0].source === source",
    "source.toJSON": "typeof Object.getPrototypeOf(source).toJSON === 'function'",
    "source.add": "held((reference) => source.get(made.id).id === made.id && reference.id === made.id)",
    "source.get": "held(() => source.get(made.id).point[2] === 24) && !source.get(made.id)",
    "source.update": (
        "held((reference) => { source.update(reference, { ...made, properties: [2, 0, 0] });"
        " return source.get(made.id).properties[0] === 2 })"
    ),
    "source.delete": "held((reference) => { source.delete(reference); return !source.get(made.id) })",
    "source.getReference": (
        "held(() => { const found = source.getReference(made.id); found.dispose();"
        " return found.id === made.id })"
    ),
    "reference.value": "held((reference) => 'value' in reference && reference.value.id === made.id)",
    "reference.dispose": "held((reference) => typeof reference.dispose === 'function')",
    "source.childCommitted.add": "heard(source.childCommitted, () => held(() => true)) === 1",
    "source.childDeleted.add": "heard(source.childDeleted, () => held(() => true)) === 1",
    "source.spatiallyIndexedSources": READ_ANEW % "[...source.spatiallyIndexedSources].length > 0",
    "cells.invalidateCache": READ_ANEW
    % "[...source.spatiallyIndexedSources].every((cells) => (cells.invalidateCache(), true))",
    "source.metadataChunkSource.invalidateCache": READ_ANEW
    % "(source.metadataChunkSource.invalidateCache(), true)",
}
"""What must hold in the page, by the name that it is said of."""
CHAIN = re.compile(
    r"\b(?:viewer|layer|state|source|reference|cells|mouseState|global)((?:\??\.\w+)+)(?![\w/]*\.js)"
)
OWN = {"add", "addEventListener", "bind", "json", "length", "map", "slice", "loaded", "js"}
"""Members of JavaScript's own objects, and what stands in addresses."""


@pytest.fixture(scope="module")
def window(viewer: Viewer, reviewed_work: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    log: Path = tmp_path_factory.mktemp("log") / "review.sqlite"
    with review(reviewed_work, database=log, person="ann") as page:
        window = open_page(viewer, page.url)
        yield window
        window.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_client_has_what_the_scripts_use(window: Page, name: str) -> None:
    assert window.evaluate(WITH % NAMES[name]), f"the client's {name} is gone, or is another thing now"


def test_each_name_in_the_scripts_has_a_line() -> None:
    text = "\n".join(path.read_text("utf-8") for path in sorted(STATIC.glob("*.js")))
    used = {member for chain in CHAIN.findall(text) for member in re.findall(r"\w+", chain)}
    known = set(re.findall(r"\w+", " ".join(NAMES)))
    assert used - OWN - known == set()
