// The panel beside the viewer: what is known of the object, what can be done with it, how far the review is.

const byId = (id) => document.getElementById(id);

export class Panel {
  constructor(onQuery) {
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
    const values = Object.entries(object.row ?? {});
    byId("values").tBodies[0].replaceChildren(
      ...values.map(([name, value]) => element("tr", "", element("th", name), element("td", number(value)))),
    );
    byId("history").replaceChildren(
      ...object.edits.map((edit) => element("li", `${edit.person}: ${edit.operation}, ${new Date(edit.at).toLocaleString("en-GB")}`)),
    );
  }
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
