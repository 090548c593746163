// Keep the view as this person's last one of the data set, and make short links to it.

const DATA_SET = new URL("../../", location.href);
const QUIET_MS = 1500; // nothing has changed for so long: then the view is kept
const LARGEST_LEFT = 60000; // bytes that a browser still sends while the page goes away

class Kept {
  constructor(viewer) {
    this.viewer = viewer;
    this.kept = this.text();
    this.timer = 0;
    viewer.state.changed.add(() => this.later());
    addEventListener("pagehide", () => this.leave());
    document.getElementById("link").addEventListener("click", () => this.link());
  }

  text() {
    return JSON.stringify(this.viewer.state.toJSON());
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(false), QUIET_MS);
  }

  leave() {
    if (this.text().length < LARGEST_LEFT) this.keep(true);
  }

  async keep(keepalive) {
    const text = this.text();
    if (text === this.kept || !this.viewer.layerManager.managedLayers.length) return;
    this.kept = text;
    try {
      const answer = await fetch(new URL("view", DATA_SET), { method: "PUT", body: text, keepalive });
      if (!answer.ok) throw new Error(answer.status);
    } catch {
      this.kept = ""; // the next change tries again
    }
  }

  async link() {
    const said = document.getElementById("said");
    try {
      const answer = await fetch(new URL("links", DATA_SET), { method: "POST", body: this.text() });
      const known = await answer.json();
      if (!answer.ok) throw new Error(known.error);
      said.textContent = known.url;
      await navigator.clipboard?.writeText(known.url).then(() => { said.textContent = `${known.url} (copied)`; }, () => {});
    } catch (error) {
      said.textContent = `No link was made: ${error.message || "the service does not answer"}`;
    }
  }
}

function begin() {
  if (window.viewer?.state && window.viewer.layerManager.managedLayers.length) window.kept = new Kept(window.viewer);
  else setTimeout(begin, 100);
}

begin();
