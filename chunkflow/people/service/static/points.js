// The points near the cursor as a layer of Neuroglancer that can be edited, by the client's own objects.

const LAYER = "review";
const STATUS = { "": 0, accepted: 1, rejected: 2 };

export class Points {
  // `onAdd(place)`, `onMove(id, place)` and `onDelete(id)` are told what this person does in the viewer.
  constructor(viewer, voxelSize, classes, handlers) {
    this.viewer = viewer;
    this.voxelSize = voxelSize; // metres
    this.classes = classes;
    this.handlers = handlers;
    this.ours = false; // what we change ourselves is no edit of this person
    this.shown = new Map();
    this.chosen = null;
    this.source = viewer.layerManager.getLayerByName(LAYER).layer.localAnnotations;
    this.source.toJSON = () => []; // points never enter the state of the view
    this.source.childCommitted.add((id) => this.committed(id));
    this.source.childDeleted.add((id) => this.deleted(id));
  }

  static ready(viewer) {
    return viewer?.layerManager?.getLayerByName(LAYER)?.layer?.localAnnotations !== undefined;
  }

  committed(id) {
    if (this.ours) return;
    const annotation = this.source.get(id);
    if (!annotation) return;
    const place = Array.from(annotation.point);
    if (this.shown.has(id)) {
      this.handlers.onMove(id, place);
      return;
    }
    this.quietly(() => this.drop(id));
    // The client goes on to show the point that it has just made, which is no more.
    queueMicrotask(() => (this.viewer.selectionDetailsState.location.visible = false));
    this.handlers.onAdd(place);
  }

  deleted(id) {
    if (this.ours || !this.shown.has(id)) return;
    this.shown.delete(id);
    this.handlers.onDelete(id);
  }

  quietly(change) {
    const before = this.ours;
    this.ours = true;
    try {
      change();
    } finally {
      this.ours = before;
    }
  }

  // Show these objects, and no others but the chosen one.
  show(objects) {
    const wanted = new Map(objects.map((object) => [object.id, object]));
    this.quietly(() => {
      for (const id of [...this.shown.keys()]) if (!wanted.has(id) && id !== this.chosen) this.drop(id);
      for (const object of objects) this.put(object);
    });
  }

  put(object) {
    if (object.deleted) return this.quietly(() => this.drop(object.id));
    const annotation = {
      type: 0,
      id: object.id,
      point: new Float32Array(object.place),
      properties: [STATUS[object.status], this.classes.indexOf(object.class) + 1, object.id === this.chosen ? 1 : 0],
      relatedSegments: [],
    };
    this.quietly(() => {
      if (this.source.get(object.id)) this.refer(object.id, (reference) => this.source.update(reference, annotation));
      else this.source.add(annotation).dispose();
    });
    this.shown.set(object.id, object);
  }

  drop(id) {
    if (this.source.get(id)) this.refer(id, (reference) => this.source.delete(reference));
    this.shown.delete(id);
  }

  // What the client keeps of an annotation may be from before it was last deleted.
  refer(id, change) {
    const reference = this.source.getReference(id);
    try {
      reference.value = this.source.get(id);
      change(reference);
    } finally {
      reference.dispose();
    }
  }

  // Mark an object as the one that is looked at, and go there.
  choose(object) {
    const before = this.shown.get(this.chosen);
    this.chosen = object.id;
    if (before) this.put(before);
    this.put(object);
    this.viewer.position.value = new Float32Array(this.toGlobal(object.place));
  }

  // The centre of the view, in voxels of the table's layer.
  centre() {
    const scales = this.viewer.coordinateSpace.value.scales;
    return Array.from(this.viewer.position.value.slice(0, 3), (n, axis) => (n * scales[axis]) / this.voxelSize[axis]);
  }

  // The place under the cursor, in voxels of the table's layer; null where it is over no panel.
  cursor() {
    const { mouseState } = this.viewer;
    mouseState.updateUnconditionally();
    if (!mouseState.active) return null;
    const scales = this.viewer.coordinateSpace.value.scales;
    return Array.from(mouseState.position.slice(0, 3), (n, axis) => (n * scales[axis]) / this.voxelSize[axis]);
  }

  toGlobal(place) {
    const scales = this.viewer.coordinateSpace.value.scales;
    return place.map((n, axis) => (n * this.voxelSize[axis]) / scales[axis]);
  }

  // The object whose point is under the cursor.
  underCursor() {
    const { mouseState } = this.viewer;
    mouseState.updateUnconditionally();
    const id = mouseState.active ? mouseState.pickedAnnotationId : undefined;
    return this.shown.has(id) ? id : null;
  }
}
