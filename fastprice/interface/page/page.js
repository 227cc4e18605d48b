// The live page. The service has written the prices of the moment into it; from here on they are kept up to date.
import { ServiceClock, ask } from "./clock.js";
import { Feed } from "./feed.js";
import { PairView } from "./pair.js";
import { showSources } from "./sources.js";

const { freshMs, staleMs, most, words: told } = document.body.dataset;
const words = JSON.parse(told);
const limits = { freshMs: Number(freshMs), staleMs: Number(staleMs) };
const known = [...document.querySelectorAll("#known option")].map((option) => option.value);
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const clock = new ServiceClock();
const views = new Map();

const feed = new Feed({
  quietMs: limits.freshMs + 2000,
  price: (price, isPushed) => views.get(price.symbol.toLowerCase())?.show(price, isPushed) ?? false,
  state: (symbol, state) => views.get(symbol.toLowerCase())?.tell(state),
  link: (name) => {
    const line = document.querySelector(".link");
    line.dataset.link = name;
    line.textContent = words[name];
    // A restart, or a sleep, leaves a gap in the charts that the service may be able to fill.
    if (name === "live") views.forEach(remember);
  },
});

async function remember(view) {
  const recent = await ask(`api/v1/prices/${view.slug}/recent`, clock);
  for (const point of recent?.points ?? []) view.chart.add(point.at_ms, point.price);
  if (recent) view.chart.draw(clock.now());
}

function adopt(article) {
  const view = new PairView(article, words, clock, limits);
  article.querySelector(".sources").addEventListener("toggle", () => showSources(view, words, clock));
  views.set(view.slug, view);
}

// The article of a pair that the service has not written into the page.
function create(slug) {
  const article = document.querySelector("#pair").content.firstElementChild.cloneNode(true);
  const [base, quote] = slug.toUpperCase().split("-");
  const heading = article.querySelector("h2");
  article.dataset.pair = slug;
  article.setAttribute("aria-labelledby", (heading.id = `name-${slug}`));
  heading.prepend(base);
  heading.append(quote);
  article.querySelector(".scroll").ariaLabel += slug.toUpperCase();
  return article;
}

// Show the first pairs with this text in their name, and keep them in the address.
function choose(text) {
  const part = text.trim().toLowerCase().replace("/", "-");
  const slugs = known.filter((slug) => slug.includes(part)).slice(0, Number(most));
  for (const slug of views.keys()) if (!slugs.includes(slug)) views.delete(slug);
  for (const slug of slugs) if (!views.has(slug)) adopt(create(slug));
  document.querySelector(".pairs").replaceChildren(...slugs.map((slug) => views.get(slug).article));
  const note = words.shown.replace("{shown}", slugs.length).replace("{all}", known.length);
  document.querySelector("#note").textContent = slugs.length < known.length ? note : "";
  history.replaceState(null, "", part && slugs.length ? `?pairs=${slugs.join(",")}` : location.pathname);
  feed.start(slugs);
}

// Nothing is done while the page is hidden.
function every(ms, work) {
  setInterval(() => document.hidden || work(), ms);
}

document.querySelectorAll(".pair").forEach(adopt);
if (views.size === 1) document.querySelector(".sources").open = true;
document.documentElement.classList.add("live");
feed.start([...views.keys()]);

let typing = 0;
document.querySelector("#filter").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => choose(event.target.value), 300);
});
// A page in the background uses no place among the subscribers, and none of a browser's few connections.
document.addEventListener("visibilitychange", () => (document.hidden ? feed.stop() : feed.start([...views.keys()])));
every(100, () => isStill.matches || views.forEach((view) => view.tick()));
every(1000, () => {
  feed.suspect();
  if (isStill.matches) views.forEach((view) => view.tick());
  if (!Number.isNaN(clock.now())) views.forEach((view) => view.chart.draw(clock.now()));
});
every(2000, () => views.forEach((view) => showSources(view, words, clock)));
every(60_000, () => views.forEach(remember));
