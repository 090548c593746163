// The panel beside the viewer: what is known of the object, what can be done with it, how far the review is.

const SVG = "http://www.w3.org/2000/svg";
const BAR = 7; // pixels of height of the bar of a class, with what is free below it
const MARGIN = 0.06; // of a strip, on both of its sides
const UNITS = { nm: "nm", um: "µm", um2: "µm²", um3: "µm³" };

const byId = (id) => document.getElementById(id);

export class Panel {
  constructor(onQuery) {
    this.features = [];
    this.colours = {};
    byId("query").addEventListener("change", (event) => {
      onQuery(event.target.value);
      event.target.blur();
    });
  }

  get query() {
    return byId("query").value;
  }

  queries(queries) {
    byId("query").replaceChildren(...queries.map(({ name, title }) => new Option(title, name)));
  }

  // Go through a query that is not among those of the table; it stays to be chosen again.
  choose(name, title) {
    const select = byId("query");
    if (![...select.options].some((option) => option.value === name)) select.append(new Option(title, name));
    select.value = name;
  }

  actions(actions, classes, perform) {
    const buttons = actions
      .filter(({ button }) => button)
      .map(({ key, name, title }) => button(key, title, name, () => perform(name)));
    const chosen = classes.slice(0, 9).map((title, n) => button(n + 1, title, `class-${title}`, () => perform(`class-${n + 1}`)));
    byId("actions").replaceChildren(...chosen, ...buttons);
    byId("keys").replaceChildren(
      ...[...actions, { key: "1–9", title: "a class" }, { key: "Ctrl+click", title: "draw" },
        { key: "Alt+drag", title: "move or resize" }, { key: "Ctrl+Alt+right click", title: "delete" }]
        .flatMap(({ key, title }) => [element("dt", "", element("kbd", key)), element("dd", title)]),
    );
  }

  progress(counts) {
    const decided = counts.accepted + counts.rejected;
    byId("progress").max = Math.max(counts.objects, 1);
    byId("progress").value = decided;
    byId("counts").textContent =
      `${decided.toLocaleString("en")} of ${counts.objects.toLocaleString("en")} decided` +
      ` (${counts.accepted.toLocaleString("en")} accepted, ${counts.rejected.toLocaleString("en")} rejected)`;
  }

  waiting(count) {
    byId("waiting").hidden = count === 0;
    byId("waiting").textContent =
      count === 1 ? "1 edit waits for the server" : `${count} edits wait for the server`;
  }

  message(text) {
    byId("message").hidden = !text;
    byId("message").textContent = text;
  }

  // An edit that was refused, as somebody was faster: told until this person has looked at the object.
  refused(text, look) {
    const line = element("li", text);
    const shown = element("button", "Show it");
    shown.type = "button";
    shown.addEventListener("click", () => {
      line.remove();
      look();
    });
    line.append(" ", shown);
    byId("refused").append(line);
  }

  // The features of the table by class, once they are known.
  profiles({ features, colours }) {
    this.features = features;
    this.colours = colours;
    if (this.detailed) this.details(this.detailed);
  }

  show(object) {
    byId("object").hidden = object === null;
    if (object === null) return;
    byId("name").textContent = object.added ? `Added ${object.id}` : `Object ${object.id}`;
    byId("predicted").textContent = predicted(object);
    byId("decided").className = object.status;
    byId("decided").textContent = decided(object);
    byId("note").textContent = object.note ? `Note: ${object.note}` : "";
    for (const one of byId("actions").children) {
      one.classList.toggle("chosen", object.status === "accepted" && one.dataset.name === `class-${object.class}`);
    }
  }

  details(object) {
    this.detailed = object;
    this.strips(object);
    const values = Object.entries(object.row ?? {});
    byId("values").tBodies[0].replaceChildren(
      ...values.map(([name, value]) => element("tr", "", element("th", name), element("td", number(value)))),
    );
    byId("history").replaceChildren(
      ...object.edits.map((edit) => element("li", `${edit.person}: ${edit.operation}, ${new Date(edit.at).toLocaleString("en-GB")}`)),
    );
  }

  // A strip for each feature: where its classes lie, and where this object is.
  strips(object) {
    const row = object.row ?? {};
    const shown = this.features.filter(({ name }) => typeof row[name] === "number");
    const classes = [...new Set(shown.flatMap(({ spreads }) => spreads.map((spread) => spread.name)))];
    byId("features").hidden = shown.length === 0;
    byId("classes").replaceChildren(...classes.map((name) => this.swatch(name)), meaning());
    byId("strips").replaceChildren(...shown.map((feature) => this.strip(feature, row[feature.name], classes)));
  }

  swatch(name) {
    const mark = element("i", "");
    mark.style.background = this.colours[name] ?? "";
    return element("span", "", mark, name || "all objects");
  }

  strip({ name, spreads }, value, classes) {
    const [title, unit] = titled(name);
    const low = Math.min(...spreads.map((spread) => spread.low));
    const high = Math.max(...spreads.map((spread) => spread.high));
    const at = (n) => 100 * (MARGIN + (1 - 2 * MARGIN) * (high > low ? (n - low) / (high - low) : 0.5));
    const height = classes.length * BAR + 3;
    const made = drawn("svg", { role: "img", height });
    for (const spread of spreads) {
      const y = 2 + classes.indexOf(spread.name) * BAR;
      const bar = drawn("g", { class: "class", fill: this.colours[spread.name] ?? "" }, drawn("title", {}));
      bar.firstChild.textContent = spreadText(spread, unit);
      bar.append(
        drawn("rect", { x: `${at(spread.low)}%`, width: `${Math.max(at(spread.high) - at(spread.low), 0.5)}%`, y, height: BAR - 2, rx: 1 }),
        drawn("rect", { class: "median", x: `${at(spread.median)}%`, width: 2, y: y - 1, height: BAR }),
      );
      made.append(bar);
    }
    const outside = at(value) < 0 ? "◂" : at(value) > 100 ? "▸" : "";
    const x = `${Math.min(Math.max(at(value), 0.5), 99.5)}%`;
    made.append(drawn("line", { class: outside ? "here outside" : "here", x1: x, x2: x, y1: -2, y2: height + 2 }));
    const said = `${outside === "◂" ? "◂ " : ""}${withUnit(value, unit)}${outside === "▸" ? " ▸" : ""}`;
    made.setAttribute("aria-label", [`${title}: ${said}`, ...spreads.map((spread) => spreadText(spread, unit))].join("; "));
    const line = element("p", "", element("span", title), element("b", said));
    line.title = `${name}: ${withUnit(value, unit)}`;
    return element("li", "", line, made);
  }
}

function meaning() {
  return element("small", "Bar: 5th to 95th percentile of the objects predicted as a class; gap: their median. Line: this object.");
}

function spreadText({ name, low, median, high }, unit) {
  return `${name || "all objects"}: median ${withUnit(median, unit)}, 5th to 95th percentile ${number(low)} to ${withUnit(high, unit)}`;
}

// The name of a column as people read it, and its unit.
function titled(name) {
  const [, title, unit] = name.match(/^(.*?)(?:_(nm|um|um2|um3))?$/);
  return [title.replaceAll("_", " "), UNITS[unit] ?? ""];
}

function withUnit(value, unit) {
  return unit ? `${number(value)} ${unit}` : number(value);
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function predicted(object) {
  if (!object.predicted) return "";
  const chance = object.probability === null ? "" : `, probability ${object.probability.toFixed(3)}`;
  return `Predicted: ${object.predicted}${chance}`;
}

function decided(object) {
  if (object.deleted) return "Deleted";
  if (!object.status) return "Not decided yet";
  const what = object.status === "accepted" ? object.class || "Accepted" : "Rejected";
  return `${what}, by ${object.person}`;
}

function number(value) {
  if (typeof value !== "number") return String(value ?? "");
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4);
}

function button(key, title, name, perform) {
  const made = element("button", "", element("kbd", String(key)), title);
  made.type = "button";
  made.dataset.name = name;
  made.addEventListener("click", () => {
    perform();
    made.blur();
  });
  return made;
}

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}
