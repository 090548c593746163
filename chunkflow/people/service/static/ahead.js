// The next objects of a query, asked for beforehand: a person goes on with them while the server is away.

export const AHEAD = 3;

export class Ahead {
  constructor() {
    this.query = "";
    this.queue = [];
    this.known = new Map();
  }

  // Keep what the server says comes next, each object in full.
  keep(query, objects) {
    this.query = query;
    this.queue = objects;
    this.known = new Map(objects.map((object) => [object.id, object]));
  }

  // Whether something is kept that comes next.
  holds(query) {
    return query === this.query && this.queue.length > 0;
  }

  // The next object that is wanted; undefined where none is left.
  take(query, wanted) {
    if (query !== this.query) return undefined;
    while (this.queue.length) {
      const object = this.queue.shift();
      if (wanted(object.id)) return object;
    }
    return undefined;
  }

  // All that was known of an object, while no more recent answer has come.
  details(id) {
    return this.known.get(id) ?? null;
  }
}
