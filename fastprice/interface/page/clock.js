// The time of the service. Its answers tell it, and performance.now() carries it on: the clock of this device may be
// wrong, or be set, and no age may come from it.
export class ServiceClock {
  #low = -Infinity;
  #high = Infinity;

  // What the service wrote down between a question and its answer, which were at these moments of performance.now().
  learn(nowMs, asked, answered) {
    const low = nowMs - answered;
    const high = nowMs - asked;
    // Each answer narrows down what is known. One that contradicts it comes from another machine, or a clock was set, or
    // this device slept: then only the newest counts.
    const contradicts = low > this.#high || high < this.#low;
    this.#low = contradicts ? low : Math.max(low, this.#low);
    this.#high = contradicts ? high : Math.min(high, this.#high);
  }

  // Milliseconds since 1970 by the service's clock; NaN before it has told.
  now() {
    return performance.now() + (this.#low + this.#high) / 2;
  }
}

// A GET that no cache answers; what it says of the time is learned. Null where there is no answer.
export async function ask(path, clock) {
  const asked = performance.now();
  try {
    const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!response.ok) return null;
    const body = await response.json();
    if (body.now_ms) clock.learn(body.now_ms, asked, performance.now());
    return body;
  } catch {
    return null;
  }
}
