// The prices of the last minutes as one line. The few SVG paths below are enough for that; a chart library would bring
// a second dependency manager beside pip.
const WINDOW_MS = 300_000;
const WIDTH = 297; // Of 300: the rest is for the round dot at the end.
const TOP = 6;
const BOTTOM = 94;

export class Chart {
  #points = new Map(); // The last price of each second, by the second.

  // Where no price came for longer than a price stays fresh, the line has a gap.
  constructor(figure, words, freshMs) {
    this.figure = figure;
    this.words = words;
    this.freshMs = freshMs;
  }

  add(atMs, price) {
    this.#points.set(Math.floor(atMs / 1000), price);
  }

  draw(nowMs) {
    const first = Math.floor((nowMs - WINDOW_MS) / 1000);
    for (const second of this.#points.keys()) if (second < first) this.#points.delete(second);
    const points = [...this.#points].sort((one, other) => one[0] - other[0]);
    const minutes = WINDOW_MS / 60_000;
    const caption = this.figure.querySelector("figcaption");
    if (!points.length) {
      this.#paint("", "", "");
      caption.textContent = this.words.empty.replace("{minutes}", minutes);
      return;
    }
    // Prices stay strings, so that the text below the line has the digits of the API.
    const byPrice = points.map((point) => point[1]).sort((one, other) => one - other);
    const [low, high] = [byPrice[0], byPrice[byPrice.length - 1]];
    caption.textContent = this.words.chart.replace("{minutes}", minutes).replace("{low}", low).replace("{high}", high);
    const x = (second) => Math.round((((second + 1) * 1000 - nowMs + WINDOW_MS) / WINDOW_MS) * WIDTH * 100) / 100;
    const y = (price) => Math.round((BOTTOM - ((price - low) / (high - low || 1)) * (BOTTOM - TOP)) * 100) / 100;
    this.#paint(...paths(points, x, low === high ? () => (TOP + BOTTOM) / 2 : y, this.freshMs));
  }

  #paint(line, area, end) {
    for (const [name, path] of Object.entries({ line, area, end })) {
      this.figure.querySelector(`.${name}`).setAttribute("d", path);
    }
  }
}

// A price holds until the next one, so the line goes in steps.
function paths(points, x, y, freshMs) {
  let line = "";
  let area = "";
  let [before] = points[0];
  let begun = null;
  for (const [second, price] of points) {
    const isGap = begun === null || (second - before) * 1000 > Math.max(freshMs, 2000);
    if (isGap && begun !== null) area += `V100H${begun}Z`;
    if (isGap) begun = x(second);
    const step = isGap ? `M${begun} ${y(price)}` : `H${x(second)}V${y(price)}`;
    line += step;
    area += step;
    before = second;
  }
  const [second, price] = points[points.length - 1];
  return [line, `${area}V100H${begun}Z`, `M${x(second)} ${y(price)}h0`];
}
