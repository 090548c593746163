// Regions to go through: a layer of labels, and one of its labels, typed or under the cursor.

const byId = (id) => document.getElementById(id);

export class Regions {
  // `ask(path)` gives { ok, document } of the programming interface, `choose(query, title)` goes through a
  // query, `say(text)` tells what is wrong.
  constructor(ask, choose, say) {
    this.ask = ask;
    this.choose = choose;
    this.say = say;
    byId("region-layer").addEventListener("change", () => this.list());
    byId("region").addEventListener("change", (event) => {
      if (event.target.value.trim()) this.go(event.target.value.trim());
      event.target.blur();
    });
  }

  get layer() {
    return byId("region-layer").value;
  }

  // Offer the layers that the data set has.
  async offer() {
    const { layers } = (await this.ask("regions")) ?? { layers: [] };
    byId("region-layer").replaceChildren(...(layers ?? []).map((name) => new Option(name)));
    byId("regions").hidden = !layers?.length;
    byId("region").addEventListener("focus", () => this.list(), { once: true });
  }

  // The regions of the layer, to choose from.
  async list() {
    const found = await this.ask(`regions?layer=${encodeURIComponent(this.layer)}`);
    const options = (found?.regions ?? []).map(({ label, name, objects }) => new Option(`${objects} objects`, name || label));
    byId("region-names").replaceChildren(...options);
  }

  // Go through the objects of the region under the cursor, which is at this place.
  async goAt(place) {
    if (byId("regions").hidden) return this.say("The data set has no other layer of labels to choose a region of.");
    if (!place) return this.say("Move the cursor over the region first.");
    const found = await this.ask(`regions?layer=${encodeURIComponent(this.layer)}&place=${place.join(",")}`);
    if (!found) return undefined;
    if (!found.region) return this.say(`The layer ${this.layer} has no label here.`);
    return this.go(found.region.label, found.region.name);
  }

  go(label, name = "") {
    byId("region").value = name || label;
    this.choose(`region:${this.layer}:${label}`, `in ${name || label} of ${this.layer}`);
  }
}
