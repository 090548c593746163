// The objects near the cursor as a layer of Neuroglancer that can be edited, by the client's own objects.

import { boundsOf, dragged, drawing, finished, fromAnnotation, gripOf, same, shapeOf, toAnnotation } from "./shapes.js";
import { Tools } from "./tools.js";

const LAYER = "review";
const STATUS = { "": 0, accepted: 1, rejected: 2 };
const STRAIGHT = 0.999; // the cosine from which on a section is perpendicular to an axis
const ONE_SECTION = "A polygon lies in one section: draw it in the view of x and y.";
const TOO_SMALL = {
  line: "A line needs two different ends.",
  ellipsoid: "An ellipsoid needs a place on its surface apart from its centre.",
  polygon: "A polygon needs at least three corners: Control+click each, then press Enter.",
};

export class Points {
  // `onAdd(shape)`, `onMove(id, shape)` and `onDelete(id)` are told what this person does in the viewer, and
  // `onRefused(sentence)` why a drawing is not taken.
  constructor(viewer, voxelSize, classes, handlers) {
    this.viewer = viewer;
    this.voxelSize = voxelSize; // metres
    this.classes = classes;
    this.handlers = handlers;
    this.ours = false; // what we change ourselves is no edit of this person
    this.shown = new Map();
    this.chosen = null;
    this.grip = null;
    const { layer } = viewer.layerManager.getLayerByName(LAYER);
    this.source = layer.localAnnotations;
    // At the first click of a drawing the client would open a panel of its own, which shifts the view under the
    // cursor; what is in its list may be selected.
    const select = layer.selectAnnotation.bind(layer);
    layer.selectAnnotation = (states, id, pin) => (this.shown.has(id) ? select(states, id, pin) : undefined);
    this.source.toJSON = () => []; // objects never enter the state of the view
    this.source.childCommitted.add((id) => this.committed(id));
    this.source.childDeleted.add((id) => this.deleted(id));
    const update = this.source.update.bind(this.source);
    this.source.update = (reference, annotation) => update(reference, this.ours ? annotation : this.adapted(annotation));
    this.tools = new Tools(viewer, layer);
    viewer.element.addEventListener("action:annotate", (event) => this.annotates(event), true);
    viewer.element.addEventListener("action:move-annotation", (event) => this.takes(event), true);
  }

  static ready(viewer) {
    return viewer?.layerManager?.getLayerByName(LAYER)?.layer?.localAnnotations !== undefined;
  }

  // What the client makes of an annotation while a person draws or drags it, as it is meant here.
  adapted(annotation) {
    const held = this.shown.get(annotation.id);
    const now = fromAnnotation(annotation);
    if (!held) return { ...annotation, ...toAnnotation(drawing(now, this.voxelSize), false) };
    return { ...annotation, ...toAnnotation(dragged(shapeOf(held), now, this.grip)) };
  }

  annotates(event) {
    if (this.tools.kind !== "polygon" || this.acrossSection(event.target) === 2) return;
    event.stopPropagation();
    this.handlers.onRefused(ONE_SECTION);
  }

  // Remember where an object is taken that is going to be dragged.
  takes(event) {
    const held = this.shown.get(this.underCursor());
    const across = this.acrossSection(event.target);
    const axes = [0, 1, 2].filter((axis) => axis !== across);
    this.grip = held ? gripOf(shapeOf(held), this.toVoxels(this.viewer.mouseState.unsnappedPosition), axes, this.pixel()) : null;
  }

  // The axis across a section; null in the view of three dimensions, and in one that is turned.
  acrossSection(element) {
    const panel = [...this.viewer.display.panels].find((one) => one.element.contains(element));
    const normal = panel?.sliceView?.projectionParameters.value.viewportNormalInGlobalCoordinates;
    const across = normal ? Array.from(normal).findIndex((n) => Math.abs(n) > STRAIGHT) : -1;
    return across < 0 ? null : across;
  }

  // The size of a pixel of a section along each axis, in voxels.
  pixel() {
    const metres = this.viewer.crossSectionScale.value * Math.min(...this.viewer.coordinateSpace.value.scales);
    return this.voxelSize.map((size) => metres / size);
  }

  committed(id) {
    if (this.ours) return;
    const annotation = this.source.get(id);
    if (!annotation) return;
    const held = this.shown.get(id);
    if (held) return this.dropped(held, annotation);
    this.quietly(() => this.drop(id));
    const drawn = fromAnnotation(annotation);
    const shape = finished(drawn);
    if (shape) this.handlers.onAdd(shape);
    else this.handlers.onRefused(TOO_SMALL[drawn.kind]);
  }

  // The end of a drag.
  dropped(held, annotation) {
    const shape = fromAnnotation(annotation);
    if (shape.kind === "polygon") shape.points.pop();
    if (!same(shape, shapeOf(held))) this.handlers.onMove(held.id, shape);
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
      ...toAnnotation(shapeOf(object)),
      id: object.id,
      properties: [STATUS[object.status], this.classes.indexOf(object.class) + 1, object.id === this.chosen ? 1 : 0],
      relatedSegments: [],
    };
    this.quietly(() => {
      const before = this.source.get(object.id);
      if (before && before.type !== annotation.type) this.drop(object.id);
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
    return this.toVoxels(this.viewer.position.value);
  }

  toVoxels(position) {
    const scales = this.viewer.coordinateSpace.value.scales;
    return Array.from(position.slice(0, 3), (n, axis) => (n * scales[axis]) / this.voxelSize[axis]);
  }

  // How far a place is from the nearest part of an object, in metres; of its bounds, at most.
  distance(object, place) {
    const [low, high] = boundsOf(shapeOf(object));
    return Math.hypot(...place.map((n, axis) => Math.max(low[axis] - n, 0, n - high[axis]) * this.voxelSize[axis]));
  }

  // The place under the cursor, in voxels of the table's layer; null where it is over no panel.
  cursor() {
    const { mouseState } = this.viewer;
    mouseState.updateUnconditionally();
    return mouseState.active ? this.toVoxels(mouseState.position) : null;
  }

  toGlobal(place) {
    const scales = this.viewer.coordinateSpace.value.scales;
    return place.map((n, axis) => (n * this.voxelSize[axis]) / scales[axis]);
  }

  // The object that is under the cursor.
  underCursor() {
    const { mouseState } = this.viewer;
    mouseState.updateUnconditionally();
    const id = mouseState.active ? mouseState.pickedAnnotationId : undefined;
    return this.shown.has(id) ? id : null;
  }
}
