// Prices come from the stream, and from polls while the stream is lost. It never gives up by itself.
const POLL_MS = 2000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
// A person cannot read faster, and a phone should not have to.
const LEAST_INTERVAL_MS = 250;

export class Feed {
  #pairs = "";
  #stream = null;
  #opening = 0;
  #polling = 0;
  #pause = FIRST_PAUSE_MS;
  #etag = "";
  #heardAt = 0;

  // `price` gets every price and whether it was pushed, and returns whether it was new; `state` gets symbol and state;
  // `link` gets live, connecting, polling or lost.
  constructor({ price, state, link, quietMs }) {
    Object.assign(this, { price, state, quietMs });
    this.link = (name) => {
      if (name !== this.linked) link((this.linked = name));
    };
  }

  start(slugs) {
    this.stop();
    this.#pairs = slugs.join(",");
    this.link("connecting");
    if (slugs.length) this.#open();
  }

  stop() {
    this.#stream?.close();
    this.#stream = null;
    clearTimeout(this.#opening);
    clearTimeout(this.#polling);
    this.#polling = 0;
    this.#etag = "";
  }

  // A phone that slept, or a proxy, may have cut the stream silently. When no event came for longer than a price stays
  // fresh, one poll shows whether an event was missed.
  suspect() {
    if (this.linked === "live" && performance.now() - this.#heardAt > this.quietMs) {
      this.#heardAt = performance.now();
      this.#ask();
    }
  }

  #open() {
    clearTimeout(this.#opening);
    this.#stream?.close();
    const stream = new EventSource(`api/v1/stream?pairs=${this.#pairs}&min_interval_ms=${LEAST_INTERVAL_MS}`);
    this.#stream = stream;
    stream.addEventListener("open", () => {
      this.#pause = FIRST_PAUSE_MS;
      this.#heardAt = performance.now();
      clearTimeout(this.#polling);
      this.#polling = 0;
      this.link("live");
    });
    stream.addEventListener("price", (event) => {
      this.#heardAt = performance.now();
      this.price(JSON.parse(event.data), true);
    });
    stream.addEventListener("state", (event) => {
      const { symbol, state } = JSON.parse(event.data);
      this.state(symbol, state);
    });
    // EventSource reconnects after some losses, but never after a status other than 200: so this class always does it.
    stream.addEventListener("error", () => this.#lost());
  }

  #lost() {
    this.#stream?.close();
    this.#stream = null;
    clearTimeout(this.#opening);
    this.#opening = setTimeout(() => this.#open(), this.#pause * (0.5 + Math.random()));
    this.#pause = Math.min(LONGEST_PAUSE_MS, this.#pause * 2);
    if (!this.#polling) this.#poll();
  }

  async #poll() {
    this.#polling = -1; // A poll is under way, and has no timer id yet.
    const reached = await this.#ask();
    if (this.#polling !== -1) return; // Stopped, or live again meanwhile.
    const isBack = reached && this.linked === "lost";
    this.link(reached ? "polling" : "lost");
    this.#polling = setTimeout(() => this.#poll(), POLL_MS);
    if (isBack) this.#open();
  }

  // One poll; returns whether the service was reached. Prices that are known already are not sent again.
  async #ask() {
    const pairs = this.#pairs;
    try {
      const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
      const path = `api/v1/prices?pairs=${pairs}`;
      const response = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(5000) });
      if (response.status === 304) return true;
      const body = await response.json();
      if (pairs !== this.#pairs) return true;
      if (response.ok) {
        this.#etag = response.headers.get("ETag") ?? "";
        const isNews = body.prices.map((price) => this.price(price, false)).some(Boolean);
        if (isNews && this.linked === "live") this.#lost(); // The stream has missed it.
        for (const symbol of body.unavailable) this.state(symbol, "expired");
      } else if (body.code === "price_unavailable") {
        for (const slug of pairs.split(",")) this.state(slug.toUpperCase(), "expired");
      }
      return response.ok || body.code === "price_unavailable";
    } catch {
      return false;
    }
  }
}
