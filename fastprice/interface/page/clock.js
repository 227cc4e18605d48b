// The time of the service, learned from its answers and continued with performance.now(): the clock of this device may
// be wrong, or may be set, so no age may depend on it.
export class ServiceClock {
  #low = -Infinity;
  #high = Infinity;

  // `nowMs` is the service's time between a request and its answer, whose times are of performance.now().
  learn(nowMs, asked, answered) {
    const low = nowMs - answered;
    const high = nowMs - asked;
    // Each answer narrows the range. If one contradicts it, it comes from another machine, or a clock was set, or this
    // device slept: then only the newest answer counts.
    const contradicts = low > this.#high || high < this.#low;
    this.#low = contradicts ? low : Math.max(low, this.#low);
    this.#high = contradicts ? high : Math.min(high, this.#high);
  }

  // Milliseconds since 1970 by the service's clock; NaN before the first answer.
  now() {
    return performance.now() + (this.#low + this.#high) / 2;
  }
}

// A GET that no cache answers; the clock learns the time from it. Returns null if there is no answer.
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
