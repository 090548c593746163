// The tools that draw: a button and a key for each, the chosen one marked. Control+click draws with it.

const TOOLS = [
  { key: "p", kind: "point", tool: "annotatePoint" },
  { key: "t", kind: "line", tool: "annotateLine" },
  { key: "q", kind: "box", tool: "annotateBoundingBox" },
  { key: "c", kind: "ellipsoid", tool: "annotateSphere" },
  { key: "g", kind: "polygon", tool: "annotatePolyline" },
];

export class Tools {
  constructor(viewer, layer) {
    this.selected = layer.tool;
    this.buttons = TOOLS.map((tool) => this.button(tool));
    document.getElementById("tools").replaceChildren(...this.buttons);
    for (const { key, kind, tool } of TOOLS) {
      viewer.inputEventBindings.global.set(`key${key}`, `review-draw-${kind}`);
      viewer.element.addEventListener(`action:review-draw-${kind}`, () => this.choose(tool));
    }
    this.selected.changed.add(() => this.mark());
    this.mark();
  }

  // The kind of shape that is drawn now.
  get kind() {
    return TOOLS.find(({ tool }) => tool === this.selected.toJSON())?.kind;
  }

  choose(tool) {
    if (this.selected.toJSON() !== tool) this.selected.restoreState(tool);
  }

  mark() {
    this.buttons.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.kind === this.kind)));
  }

  button({ key, kind, tool }) {
    const made = document.createElement("button");
    const shown = document.createElement("kbd");
    shown.textContent = key;
    made.type = "button";
    made.dataset.kind = kind;
    made.append(shown, kind);
    made.addEventListener("click", () => {
      this.choose(tool);
      made.blur();
    });
    return made;
  }
}
