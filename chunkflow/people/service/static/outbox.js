// Edits on their way to the server: kept in the browser until they are acknowledged, and sent in their order.
//
// Each has a key of its own, so that one that is sent twice is written once. It names the edit of its object
// that its author had seen: where that is one that still waited, as soon as it is acknowledged.

const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 5000;
const PATIENCE = 30000; // of one sending: an edit may be sent twice, it is written once
// Taken, malformed, refused, too large. After any other answer the edit is kept and sent again.
const SETTLED = [200, 400, 409, 413];

export class Outbox {
  // `generation` says which table the edits are about: after a reload it may be another.
  constructor(address, generation, onAnswer, onChange) {
    this.address = address;
    this.generation = generation;
    this.prefix = `chunkflow-edit:${address}:`;
    this.onAnswer = onAnswer;
    this.onChange = onChange;
    this.sending = false;
    this.pause = FIRST_PAUSE;
    this.away = false; // whether the server did not answer when it was last asked
    addEventListener("online", () => this.send());
  }

  // The edits that wait, the oldest first.
  waiting() {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(this.prefix));
    return names.sort().map((name) => ({ name, ...JSON.parse(localStorage.getItem(name)) }));
  }

  // The newest edit of an object that waits.
  last(object) {
    return this.waiting().findLast(({ edit }) => edit.object === object);
  }

  put(edit) {
    const key = crypto.randomUUID ? crypto.randomUUID() : randomKey();
    const stamp = String(Date.now()).padStart(15, "0") + String(performance.now().toFixed(3)).padStart(16, "0");
    localStorage.setItem(this.prefix + stamp, JSON.stringify({ edit: { key, ...edit }, generation: this.generation }));
    this.onChange();
    this.send();
    return key;
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    try {
      for (let [first] = this.waiting(); first; [first] = this.waiting()) {
        const answer = await this.post(first);
        this.away = answer === null;
        if (answer === null) {
          await new Promise((resolve) => setTimeout(resolve, this.pause));
          this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
          continue;
        }
        this.pause = FIRST_PAUSE;
        this.settle(first, answer);
      }
    } finally {
      this.sending = false;
    }
  }

  // The answer of the server; null where there is none, so that the edit must be sent again.
  async post({ edit, generation = this.generation }) {
    let response;
    try {
      const address = `${this.address}/edits?generation=${generation}`;
      response = await fetch(address, { method: "POST", body: JSON.stringify(edit), signal: AbortSignal.timeout(PATIENCE) });
    } catch {
      return null;
    }
    if (!SETTLED.includes(response.status)) return null;
    try {
      return { status: response.status, ...(await response.json()) };
    } catch {
      return null;
    }
  }

  // What waits of the same object goes on from there, under the id that the server has given a point. The edit
  // itself is forgotten last: whoever is cut off before sends it again, and is answered the same.
  settle(held, answer) {
    for (const { name, edit, generation } of answer.edit ? this.waiting() : []) {
      if (name === held.name || !edit.object || ![held.edit.object, answer.edit.object].includes(edit.object)) continue;
      edit.object = answer.edit.object;
      edit.seen = answer.edit.seq;
      localStorage.setItem(name, JSON.stringify({ edit, generation }));
    }
    localStorage.removeItem(held.name);
    this.onAnswer(held.edit, answer);
    this.onChange();
  }
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");
}
