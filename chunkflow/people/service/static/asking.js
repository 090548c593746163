// What a review page asks the server, and other small things that know nothing of the page.

export const API = document.body.dataset.api;

export function newId() {
  const high = crypto.getRandomValues(new BigUint64Array(1))[0];
  return String((high & ((1n << 62n) - 1n)) | (1n << 62n));
}

export function distance(a, b, scale) {
  return Math.hypot(...a.map((n, axis) => (n - b[axis]) * scale[axis]));
}

export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// What the server says; null where it does not answer so. A `refused` is told why, and the answer undefined.
export async function ask(path, patience, refused) {
  try {
    const signal = patience ? AbortSignal.timeout(patience) : null;
    const response = await fetch(`${API}/${path}`, { signal });
    if (refused && response.status === 400) {
      refused((await response.json()).error);
      return undefined;
    }
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
