// One pair as the page shows it.
import { Chart } from "./chart.js";

const RANK = { fresh: 0, stale: 1, expired: 2, none: 3 };
const DASH = "—";

export class PairView {
  #price = null;

  constructor(article, words, clock, limits) {
    Object.assign(this, { article, words, clock, limits });
    this.slug = article.dataset.pair;
    this.chart = new Chart(article.querySelector(".chart"), words, limits.freshMs);
    this.told = article.dataset.state;
    const madeAt = Date.parse(article.querySelector("time").dateTime);
    if (madeAt) this.#price = { price: article.querySelector(".digits").textContent, fetched_at_ms: madeAt };
  }

  // The names of the sources whose prices make up the shown price.
  get sources() {
    return RANK[this.article.dataset.state] > 1 ? [] : (this.#price?.sources ?? [this.#price?.source]);
  }

  // Shows a price of the API; returns whether it is newer than the shown one. A poll may be answered by another worker
  // than the one that pushes, and may be a little behind.
  show(price, isPushed) {
    const before = this.#price;
    const isNewer = !before || made(price) > made(before);
    if (!isPushed && !isNewer && price.stale === before.stale) return false;
    this.#price = price;
    this.told = price.stale ? "stale" : "fresh";
    this.chart.add(made(price), price.price);
    if (before?.price !== price.price) this.#digits(before?.price ?? "", price.price);
    for (const [name, value] of [["bid", price.bid], ["ask", price.ask], ["low", price.low_24h], ["high", price.high_24h]]) {
      this.#write(`.${name}`, value ?? DASH);
    }
    this.tick();
    return isNewer;
  }

  // Shows a state that the service sent.
  tell(state) {
    this.told = state === "expired" && !this.#price ? "none" : state;
    this.tick();
  }

  // The age grows between two prices, also without a connection, so a price becomes stale and expires by itself.
  tick() {
    const price = this.#price;
    const ageMs = price ? Math.max(0, this.clock.now() - price.fetched_at_ms) : NaN;
    const isKnown = !Number.isNaN(ageMs);
    // Before the service's time is known, a price is at least as old as this page.
    const leastMs = isKnown ? ageMs : performance.now();
    const byAge = leastMs > this.limits.staleMs ? "expired" : leastMs > this.limits.freshMs ? "stale" : "fresh";
    const state = RANK[byAge] > RANK[this.told] ? byAge : this.told;
    if (this.article.dataset.state !== state) {
      this.article.dataset.state = state;
      if (RANK[state] > 1) this.#digits("", "");
      else if (price) this.#digits("", price.price);
    }
    this.#write(".state", this.words[state]);
    const gone = price && isKnown ? this.words.gone.replace("{price}", price.price) : "";
    const text = state === "none" ? this.words.never : state === "expired" ? gone : this.words.old;
    if (isKnown || state === "none") this.#write(".age", text.replace("{age}", age(ageMs, this.words)));
    if (RANK[state] > 1) this.#write(".from", "");
    else if (price?.source) this.#write(".from", origin(price, this.words));
  }

  // Changed digits are marked by an underline and by an arrow; the colour only repeats that.
  #digits(before, now) {
    const shown = this.article.querySelector(".digits");
    const isChange = before && now;
    const [same, changed, zeros] = isChange && before.length === now.length ? parts(before, now) : ["", now, ""];
    const mark = document.createElement(isChange ? "mark" : "span");
    mark.textContent = changed || DASH;
    shown.replaceChildren(same, mark, zeros);
    shown.dataset.move = isChange ? (Number(now) > Number(before) ? "up" : "down") : "";
    shown.style.setProperty("--digits", Math.max(now.length, 8));
    this.#write(".spoken", now || DASH);
  }

  #write(selector, text) {
    const element = this.article.querySelector(selector);
    if (element.textContent !== text) element.textContent = text;
  }
}

// A number in three parts: the unchanged start, the changed middle, and the unchanged end.
function parts(before, now) {
  let first = 0;
  let last = now.length;
  while (first < last && before[first] === now[first]) first += 1;
  while (last > first && before[last - 1] === now[last - 1]) last -= 1;
  return [now.slice(0, first), now.slice(first, last), now.slice(last)];
}

function made(price) {
  return price.made_at_ms ?? price.fetched_at_ms;
}

function origin(price, words) {
  if (!price.sources) return words.from.replace("{source}", price.source);
  const filled = words.median.replace("{count}", price.sources.length).replace("{sources}", price.sources.join(", "));
  return filled.replace("{spread}", `${(Number(price.spread) * 100).toFixed(3)} %`);
}

// An age in words, "1.2 s" or "2 min 05 s", without line breaks in it.
export function age(ms, words) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${(Math.floor(ms / 100) / 10).toFixed(1)}\u00a0${words.seconds}`;
  const rest = String(seconds % 60).padStart(2, "0");
  return [Math.floor(seconds / 60), words.minutes, rest, words.seconds].join("\u00a0");
}
