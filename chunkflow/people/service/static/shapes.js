// Shapes as the log of edits has them, { kind, points }, and as annotations of Neuroglancer. Nothing is shown here.

const KINDS = ["point", "line", "box", "ellipsoid", "polygon"]; // in the order of the client's annotation types
const AXES = [0, 1, 2];
const NEAR = 8; // pixels between the cursor and the corner that it takes

export function pointAt(place) {
  return { kind: "point", points: [Array.from(place)] };
}

export function shapeOf(object) {
  return object.shape ?? pointAt(object.place);
}

// The middle of a shape: where the view goes to see it.
export function placeOf({ kind, points }) {
  if (kind === "ellipsoid") return points[0];
  return AXES.map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
}

// The lowest and the highest place of a shape.
export function boundsOf({ kind, points: [first, ...others] }) {
  if (kind === "ellipsoid") return [AXES.map((n) => first[n] - others[0][n]), AXES.map((n) => first[n] + others[0][n])];
  const all = [first, ...others];
  return [Math.min, Math.max].map((extreme) => AXES.map((axis) => extreme(...all.map((point) => point[axis]))));
}

export function same(a, b) {
  const plain = ({ kind, points }) => JSON.stringify([kind, points.map((point) => point.map(Math.fround))]);
  return plain(a) === plain(b);
}

// What an annotation of the client has of a shape. A polygon is a polyline that comes back to its first corner,
// unless it is not `closed` yet.
export function toAnnotation({ kind, points }, closed = true) {
  const places = points.map((point) => new Float32Array(point));
  const type = KINDS.indexOf(kind);
  if (kind === "point") return { type, point: places[0] };
  if (kind === "ellipsoid") return { type, center: places[0], radii: places[1] };
  if (kind === "polygon") return { type, points: closed ? [...places, new Float32Array(points[0])] : places };
  return { type, pointA: places[0], pointB: places[1] };
}

// The shape of an annotation; of a polyline every corner, also where it comes back to the first.
export function fromAnnotation(annotation) {
  const kind = KINDS[annotation.type];
  let places = annotation.points;
  if (kind === "point") places = [annotation.point];
  else if (kind === "ellipsoid") places = [annotation.center, annotation.radii];
  else if (kind !== "polygon") places = [annotation.pointA, annotation.pointB];
  return { kind, points: places.map((place) => Array.from(place)) };
}

// What a person is drawing: a polygon stays in the section of its first corner, and an ellipsoid has as much depth
// as it is wide, since one section shows two of its radii.
export function drawing(shape, voxelSize) {
  const { kind, points } = shape;
  if (kind === "polygon") return { kind, points: points.map(([x, y]) => [x, y, points[0][2]]) };
  if (kind !== "ellipsoid") return shape;
  const shown = AXES.filter((n) => points[1][n] > 0);
  const mean = shown.reduce((sum, n) => sum + points[1][n] * voxelSize[n], 0) / Math.max(shown.length, 1);
  return { kind, points: [points[0], AXES.map((n) => points[1][n] || mean / voxelSize[n])] };
}

// A drawing as it is kept; null where it is too small to be anything.
export function finished(shape) {
  if (shape.kind === "ellipsoid") return shape.points[1].every((radius) => radius > 0) ? shape : null;
  if (shape.kind === "line") return String(shape.points[0]) === String(shape.points[1]) ? null : shape;
  if (shape.kind !== "polygon") return shape;
  const corners = shape.points.filter((point, n, all) => String(point) !== String(all.at(n - 1)));
  return corners.length < 3 ? null : { kind: "polygon", points: corners };
}

// What is dragged of a shape that the cursor takes at a place: of a box the end along each axis (0 or 1), of an
// ellipsoid the radii, else null: all of it. `axes` are those that the view shows, `pixel` has its size in voxels.
export function gripOf({ kind, points }, place, axes, pixel) {
  if (kind === "box") {
    const ends = AXES.map((n) => {
      const slack = Math.min(NEAR * pixel[n], Math.abs(points[1][n] - points[0][n]) / 4);
      return [0, 1].find((end) => Math.abs(place[n] - points[end][n]) <= slack) ?? null;
    });
    return axes.every((n) => ends[n] !== null) ? { ends: ends.map((end, n) => (axes.includes(n) ? end : null)), place } : null;
  }
  if (kind !== "ellipsoid") return null;
  const away = AXES.map((n) => (axes.includes(n) ? (place[n] - points[0][n]) / points[1][n] : 0));
  return Math.hypot(...away) > 0.75 ? { along: axes.filter((n) => Math.abs(away[n]) > 0.5), place } : null;
}

// A shape while it is dragged: the client moves an annotation as a whole, or an end of a line, or a corner of a
// polyline; the grip says what else is meant.
export function dragged(held, now, grip) {
  if (held.kind === "polygon") return cornered(held.points, now.points);
  if (!grip) return now;
  const by = AXES.map((n) => now.points[0][n] - held.points[0][n]);
  if (held.kind === "box") {
    return { kind: "box", points: held.points.map((point, end) => point.map((n, axis) => n + (grip.ends[axis] === end ? by[axis] : 0))) };
  }
  const [centre, radii] = held.points;
  const stretched = radii.map((radius, n) => {
    if (!grip.along.includes(n)) return radius;
    const from = grip.place[n] - centre[n];
    return Math.abs((radius * (from + by[n])) / from);
  });
  return { kind: "ellipsoid", points: [centre, stretched] };
}

// The polyline of a polygon ends where it begins, so that either end may have been taken.
function cornered(held, now) {
  const moved = (n) => held[n % held.length].some((value, axis) => Math.fround(value) !== now[n][axis]);
  const all = now.every((_, n) => moved(n));
  const corners = now.slice(0, held.length);
  if (!all && moved(held.length)) corners[0] = now[held.length];
  return { kind: "polygon", points: all ? corners : corners.map(([x, y]) => [x, y, held[0][2]]) };
}

// What an edit changes of an object.
export function effect(edit) {
  if (edit.operation === "accept" || edit.operation === "class") return { status: "accepted", class: edit.class };
  if (edit.operation === "reject") return { status: "rejected" };
  if (edit.operation === "move") return { place: placeOf(edit.shape), shape: edit.shape };
  if (edit.operation === "note") return { note: edit.note };
  return { deleted: true };
}
