// Every source of one pair, in the order of failover. They are requested only while the table is open.
import { ask } from "./clock.js";
import { age } from "./pair.js";

const DASH = "—";

export async function showSources(view, words, clock) {
  const details = view.article.querySelector(".sources");
  if (!details.open) return;
  const told = await ask(`api/v1/prices/${view.slug}/sources`, clock);
  const rows = told?.sources.map((source) => sourceRow(source, view.sources.includes(source.source), words, clock));
  details.querySelector("tbody").replaceChildren(...(rows ?? [row([words.no_answer], "")]));
}

function sourceRow(source, isServed, words, clock) {
  const stream = source.stream?.state;
  const cells = [
    source.source,
    source.last_quote?.price ?? DASH,
    source.deviation === null ? DASH : percent(source.deviation),
    source.age_ms === null ? DASH : age(source.age_ms, words),
    stream ? (words[`${stream}_stream`] ?? words[stream]) : DASH,
    words[source.breaker],
    rest(source, words, clock) || DASH,
  ];
  return row(cells, isServed ? words.served : "");
}

// Why the source is called last, or not at all.
function rest(source, words, clock) {
  const parts = [];
  if (source.cooldown_until_ms) {
    const leftMs = source.cooldown_until_ms - clock.now();
    parts.push(Number.isNaN(leftMs) ? "" : words.for.replace("{age}", age(Math.max(0, leftMs), words)));
    parts.push(source.cooldown_reason ?? "");
  }
  if (source.distrusted) parts.push(words.distrusted.replace("{reason}", source.distrusted));
  return parts.filter(Boolean).join(": ");
}

function percent(share) {
  return `${share > 0 ? "+" : share < 0 ? "\u2212" : ""}${(Math.abs(share) * 100).toFixed(3)} %`;
}

function row([name, ...others], served) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  if (served) {
    const mark = document.createElement("span");
    mark.className = "served";
    mark.textContent = served;
    head.append(" ", mark);
  }
  line.append(head);
  for (const text of others) line.insertCell().textContent = text;
  return line;
}
