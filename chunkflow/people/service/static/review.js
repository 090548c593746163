// Review the objects of a table: one key decides, the next object comes, nothing decided is lost.
//
// What this person does is shown at once and sent by the outbox; what others do comes as events.

import { AHEAD, Ahead } from "./ahead.js";
import { AllPoints } from "./all-points.js";
import { API, ask, distance, newId, pause } from "./asking.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { Points } from "./points.js";
import { Regions } from "./regions.js";
import { effect, placeOf } from "./shapes.js";

const ACTIONS = [
  { key: "f", name: "accept", title: "accept", button: true },
  { key: "d", name: "reject", title: "reject", button: true },
  { key: "j", name: "next", title: "next" },
  { key: "k", name: "previous", title: "previous" },
  { key: "u", name: "undo", title: "undo", button: true },
  { key: "y", name: "redo", title: "redo", button: true },
  { key: "m", name: "note", title: "note", button: true },
  { key: "w", name: "region", title: "only the region under the cursor" },
  { key: "i", name: "hide", title: "hide what is decided" },
];
const FAR = 0.5; // of what is loaded: then the neighbourhood is loaded anew
const FOLLOW_PAUSE = 300;
const PATIENCE = 3000; // with a server that may have gone away
const TELL_AWAY = "The server is away, and all that was fetched before is gone through. What you decided is kept here.";
const TELL_OTHERS = "What is left lies before others now: try again in two minutes.";
const TELL_UNSEEN = "Somebody changed this object before: what is shown now is theirs.";

class Review {
  constructor(viewer, table) {
    this.viewer = viewer;
    this.table = table;
    this.objects = new Map();
    this.seq = table.seq;
    this.path = [];
    this.hidden = false;
    this.anew = ""; // what the server says once the table is another
    this.panel = new Panel(() => this.next());
    this.panel.queries(table.queries);
    this.panel.actions(ACTIONS, table.classes, (name) => this.perform(name));
    this.counts = table.counts;
    this.panel.progress(this.counts);
    this.points = new Points(viewer, table.voxel_size.map((n) => n * 1e-9), table.classes, {
      onAdd: (shape) => this.add(shape),
      onMove: (id, shape) => this.edit({ operation: "move", object: id, shape }),
      onDelete: (id) => this.edit({ operation: "delete", object: id }),
      onRefused: (sentence) => this.panel.message(sentence),
    });
    this.ahead = new Ahead();
    this.all = new AllPoints(viewer);
    this.outbox = new Outbox(API, table.generation, (edit, answer) => this.answered(edit, answer), () => this.panel.waiting(this.outbox.waiting().length));
    this.bind();
    this.listen();
    this.follow();
    this.panel.waiting(this.outbox.waiting().length);
    this.outbox.send();
    this.compare();
    this.regions = new Regions((path) => this.told(path), (query, title) => this.through(query, title), (text) => this.panel.message(text));
    this.regions.offer();
  }

  // Go through a query that somebody has just made.
  through(query, title) {
    this.panel.message("");
    this.panel.choose(query, title);
    return this.next();
  }

  // An answer, or null; what is wrong is said.
  async told(path) {
    return ask(path, undefined, (text) => this.panel.message(text));
  }

  async compare() {
    const profiles = await ask("features");
    if (profiles) this.panel.profiles(profiles);
  }

  bind() {
    const { global } = this.viewer.inputEventBindings;
    const bound = ACTIONS.map(({ key, name }) => [`key${key}`, name]);
    for (let n = 1; n <= Math.min(this.table.classes.length, 9); n++) bound.push([`digit${n}`, `class-${n}`]);
    for (const [key, name] of bound) {
      global.set(key, `review-${name}`);
      this.viewer.element.addEventListener(`action:review-${name}`, () => this.perform(name));
    }
  }

  listen() {
    const events = new EventSource(`${API}/events?since=${this.seq}&generation=${this.table.generation}`);
    events.onmessage = (event) => this.heard(JSON.parse(event.data));
    events.addEventListener("anew", (event) => {
      events.close();
      this.anew = JSON.parse(event.data).error;
      this.panel.message(this.anew);
    });
  }

  // Load the neighbourhood of wherever the view goes.
  follow() {
    let waits = false;
    this.viewer.position.changed.add(async () => {
      if (waits || !this.loaded) return;
      waits = true;
      await pause(FOLLOW_PAUSE);
      waits = false;
      await this.load(this.points.centre());
    });
  }

  get current() {
    return this.path.length ? (this.objects.get(this.path.at(-1)) ?? null) : null;
  }

  perform(name) {
    this.panel.message(this.anew);
    if (this.anew) return undefined;
    if (name === "next") return this.next();
    if (name === "previous") return this.previous();
    if (name === "undo") return this.edit({ operation: "undo" });
    if (name === "redo") return this.edit({ operation: "undo", redo: true });
    if (name === "hide") return this.hide();
    if (name === "region") return this.regions.goAt(this.points.cursor());
    const id = this.points.underCursor() ?? this.current?.id;
    const object = this.objects.get(id);
    if (!object) return this.panel.message("Choose an object first: j goes to the next one.");
    if (name === "note") return this.note(object);
    const going = object.id === this.current?.id;
    if (name === "accept") this.edit({ operation: "accept", object: id, class: object.class });
    else if (name === "reject") this.edit({ operation: "reject", object: id });
    else this.edit({ operation: "class", object: id, class: this.table.classes[Number(name.slice(6)) - 1] });
    return going ? this.next() : undefined;
  }

  note(object) {
    const text = prompt("Note", object.note);
    if (text !== null && text !== object.note) this.edit({ operation: "note", object: object.id, note: text });
  }

  // Show an edit of this person at once, and send it.
  edit(edit) {
    const object = this.objects.get(edit.object);
    if (object) {
      edit.seen = object.seq;
      this.update({ ...object, ...effect(edit), person: this.table.person });
    }
    this.outbox.put(edit);
  }

  add(shape) {
    this.panel.message("");
    const id = newId();
    this.update({ id, place: placeOf(shape), shape, class: "", predicted: "", probability: null, status: "accepted", note: "", added: true, deleted: false, seq: null, person: this.table.person });
    this.outbox.put({ operation: "add", object: id, shape });
  }

  // The server gives a point the id of the object under it, where there is one.
  forget(id) {
    this.objects.delete(id);
    this.path = this.path.filter((one) => one !== id);
    this.points.quietly(() => this.points.drop(id));
  }

  async answered(edit, answer) {
    if (answer.status === 200) {
      this.counts = answer.counts;
      this.panel.progress(this.counts);
      this.all.refresh();
      if (edit.object && edit.object !== answer.object.id) this.forget(edit.object);
      this.take(answer.object);
      if (edit.operation === "undo") this.go(answer.object.id);
      return;
    }
    const { object } = answer;
    if (answer.status === 409 && object) this.panel.refused(`${answer.error} ${TELL_UNSEEN}`, () => this.go(object.id));
    else this.panel.message(answer.error);
    if (edit.object) await this.revert(edit.object, answer.object);
  }

  // Show an object as the server has it, after an edit of it that was refused.
  async revert(id, known) {
    if (this.outbox.last(id)) return;
    const object = known ?? (await ask(`objects/${id}`));
    if (object) {
      this.update(object);
    } else {
      this.forget(id);
    }
  }

  // An edit of somebody, also of this person in another window.
  heard({ seq, object, counts }) {
    this.seq = seq;
    this.counts = counts;
    this.panel.progress(counts);
    this.all.refresh();
    if (!this.outbox.last(object.id)) this.take(object);
  }

  // Take an object as the server has it; what still waits to be sent of it stays as this person left it.
  take(object) {
    const held = this.objects.get(object.id);
    if (held && held.seq !== null && object.seq !== null && object.seq < held.seq) return;
    if (this.outbox.last(object.id)) {
      if (held) held.seq = object.seq;
      return;
    }
    if (held || (!object.deleted && this.near(object))) this.update(object);
    if (object.id === this.current?.id) this.details(object.id);
  }

  near(object) {
    return this.loaded !== undefined && this.points.distance(object, this.loaded.centre) * 1e9 < this.loaded.radius;
  }

  update(object) {
    this.objects.set(object.id, object);
    if (this.hidden && object.status && object.id !== this.current?.id) this.points.put({ ...object, deleted: true });
    else this.points.put(object);
    if (object.id === this.current?.id) this.panel.show(object);
  }

  async next() {
    const after = this.current?.id ?? "";
    const { query } = this.panel;
    const path = `next?query=${encodeURIComponent(query)}&after=${after}&ahead=${AHEAD}`;
    const kept = this.ahead.holds(query); // else there is nothing to do but to wait
    const refused = (text) => this.panel.message(text);
    const found = kept && this.outbox.away ? null : await ask(path, kept ? PATIENCE : undefined, refused);
    if (found === undefined) return;
    if (found === null) return this.goAhead(query, after);
    this.ahead.keep(query, found.ahead);
    if (found.object === null) this.panel.message(found.before_others ? TELL_OTHERS : "Nothing is left to decide here.");
    else await this.go(found.object.id, found.object);
  }

  // Go on while the server is away, with an object that was asked for before.
  async goAhead(query, after) {
    const object = this.ahead.take(query, (id) => id !== after && !this.outbox.last(id));
    if (object) await this.go(object.id, object);
    else this.panel.message(TELL_AWAY);
  }

  async previous() {
    if (this.path.length < 2) return;
    this.path.pop();
    await this.go(this.path.pop());
  }

  async go(id, known = this.objects.get(id)) {
    const object = known ?? (await ask(`objects/${id}`));
    if (!object || object.deleted) return;
    if (!this.objects.has(id)) this.objects.set(id, object);
    if (this.path.at(-1) !== id) this.path.push(id);
    this.points.choose(this.objects.get(id));
    this.panel.show(this.objects.get(id));
    await Promise.all([this.load(this.objects.get(id).place), this.details(id)]);
  }

  async details(id) {
    const kept = this.ahead.details(id);
    const object = (await ask(`objects/${id}`, kept ? PATIENCE : undefined)) ?? kept;
    if (object && this.current?.id === id) this.panel.details(object);
  }

  // The neighbourhood of a place, unless most of it is there already.
  async load(place) {
    if (this.loaded && distance(place, this.loaded.centre, this.table.voxel_size) < this.loaded.radius * FAR) return;
    const found = await ask(`near?place=${place.join(",")}`);
    if (found === null) return;
    this.loaded = { centre: place, radius: found.radius ?? Infinity };
    for (const object of found.objects) if (!this.outbox.last(object.id)) this.objects.set(object.id, object);
    this.draw();
  }

  hide() {
    this.hidden = !this.hidden;
    this.draw();
  }

  draw() {
    const near = [...this.objects.values()].filter((object) => !object.deleted && this.near(object));
    this.points.show(near.filter((object) => !this.hidden || !object.status || object.id === this.current?.id));
  }
}

async function start() {
  let table = await ask("table");
  for (; table === null; table = await ask("table")) await pause(1000);
  while (!Points.ready(window.viewer)) await pause(50);
  window.review = new Review(window.viewer, table);
  await window.review.next();
}

start();
