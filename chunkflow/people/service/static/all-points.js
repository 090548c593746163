// All objects of the table, as the server answers them: read anew after edits, at most once a second.

const LAYER = "all";
const PAUSE = 1000;

export class AllPoints {
  constructor(viewer) {
    this.viewer = viewer;
    this.last = -PAUSE;
    this.timer = null;
  }

  get sources() {
    const layer = this.viewer.layerManager.getLayerByName(LAYER)?.layer;
    return layer ? layer.annotationStates.states.map((state) => state.source) : [];
  }

  refresh() {
    if (this.timer !== null) return;
    this.timer = setTimeout(() => this.read(), Math.max(0, this.last + PAUSE - performance.now()));
  }

  // What is not in view is dropped, and read when it comes into view.
  read() {
    this.timer = null;
    this.last = performance.now();
    for (const source of this.sources) {
      for (const cells of source.spatiallyIndexedSources ?? []) cells.invalidateCache();
      source.metadataChunkSource?.invalidateCache();
    }
  }
}
