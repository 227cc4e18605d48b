// Shows openapi.json, and sends its GET requests. All text is inserted as text, so nothing in it can become markup.
const MOST_SHOWN = 20000;
const root = new URL(".", location.href);

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children.filter(Boolean));
  return made;
}

// A text whose words between backticks are code.
function prose(name, text, ...children) {
  const parts = (text ?? "").split("`").map((part, at) => (at % 2 ? element("code", part) : part));
  return element(name, "", ...parts, ...children);
}

// A block that scrolls must be reachable by keyboard.
function block(text) {
  const made = element("pre", text);
  made.tabIndex = 0;
  return made;
}

function resolve(document_, entry) {
  return entry && entry.$ref ? resolve(document_, entry.$ref.slice(2).split("/").reduce((at, key) => at[key], document_)) : entry;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  return [schema.type ?? schema.const ?? "any"].flat().join(" or ");
}

// Examples are collapsed, because each operation has a dozen of them.
function sample(type, example) {
  const text = typeof example === "string" ? example : JSON.stringify(example, null, 2);
  return text && element("details", "", element("summary", `Example: ${type}`), block(text));
}

function responses(document_, operation) {
  const list = element("dl");
  const answers = Object.entries(operation.responses).map(([status, entry]) => [status, resolve(document_, entry)]);
  const names = answers.map(([, response]) => Object.keys(response.headers ?? {}));
  const everywhere = names[0].filter((name) => names.every((some) => some.includes(name)));
  for (const [status, response] of answers) {
    const types = Object.entries(response.content ?? {}).map(([type, content]) => `${type}: ${kind(content.schema)}`);
    const headers = Object.keys(response.headers ?? {}).filter((name) => !everywhere.includes(name));
    list.append(element("dt", [status, ...types].join("  ")), prose("dd", response.description));
    if (headers.length) list.append(element("dd", `Headers: ${headers.join(", ")}`));
    for (const [type, { example }] of Object.entries(response.content ?? {})) list.append(element("dd", "", sample(type, example)));
  }
  list.append(element("dt", "all of them"), element("dd", `Headers: ${everywhere.join(", ")}`));
  return list;
}

function field(parameter) {
  const input = element("input");
  const schema = parameter.schema ?? {};
  input.name = parameter.name;
  input.required = Boolean(parameter.required);
  if (parameter.in === "path") input.value = parameter.example ?? schema.enum?.[0] ?? schema.examples?.[0] ?? "";
  const text = `${parameter.name} (${parameter.in}${parameter.required ? ", required" : ""}) ${parameter.description ?? ""}`;
  return { parameter, input, label: prose("label", text, input) };
}

function request(path, fields) {
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of fields) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
    else if (input.value && parameter.in === "header") headers[parameter.name] = input.value;
  }
  const url = new URL(path.slice(1), root);
  url.search = query;
  return [url, headers];
}

function pretty(text, type) {
  if (!type.includes("json")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// A stream is shown as it arrives. It does not end, so only its newest part is kept.
async function show(answer, output) {
  const type = answer.headers.get("Content-Type") ?? "";
  const head = `${answer.status} ${answer.statusText}\n${[...answer.headers].map((pair) => pair.join(": ")).join("\n")}\n\n`;
  const decoder = new TextDecoder();
  let text = "";
  output.textContent = head;
  if (!answer.body) return;
  for (let reader = answer.body.getReader(), part; !(part = await reader.read()).done;) {
    text = (text + decoder.decode(part.value, { stream: true })).slice(-MOST_SHOWN);
    output.textContent = head + text;
  }
  output.textContent = head + pretty(text, type);
}

function trial(path, fields) {
  const send = element("button", "Send"), stop = element("button", "Stop"), output = block();
  const form = element("form", "", ...fields.map((one) => one.label), send, stop, output);
  let control = new AbortController();
  stop.type = "button";
  output.setAttribute("aria-live", "polite");
  stop.addEventListener("click", () => control.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    control.abort();
    control = new AbortController();
    const { signal } = control;
    const [url, headers] = request(path, fields);
    try {
      await show(await fetch(url, { headers, signal, cache: "no-store" }), output);
    } catch (error) {
      if (!signal.aborted) output.textContent = `No answer: ${error.message}`;
    }
  });
  return form;
}

function operation(document_, path, item) {
  const get = item.get;
  const fields = [...(item.parameters ?? []), ...(get.parameters ?? [])].map((entry) => field(resolve(document_, entry)));
  const made = element("details", "", element("summary", "", element("code", `GET ${path}`), prose("span", get.summary)));
  if (get.description) made.append(prose("p", get.description));
  made.append(trial(path, fields), element("h3", "Answers"), responses(document_, get));
  made.id = get.operationId;
  return made;
}

function group(document_, tag) {
  const items = Object.entries(document_.paths).filter(([, item]) => item.get.tags.includes(tag.name));
  const made = items.map(([path, item]) => operation(document_, path, item));
  return element("section", "", element("h2", tag.name), element("p", tag.description), ...made);
}

function schema(name, content) {
  const list = element("dl");
  for (const [key, value] of Object.entries(content.properties ?? {})) {
    const must = content.required?.includes(key) ? "" : ", may be absent";
    list.append(element("dt", `${key}: ${kind(value)}${must}`), prose("dd", value.description));
  }
  return element("details", "", element("summary", "", element("code", name), kind(content)), prose("p", content.description), list);
}

function headers(document_) {
  const entries = Object.entries(document_.components.headers);
  return element("dl", "", ...entries.flatMap(([name, one]) => [element("dt", name), prose("dd", one.description)]));
}

async function begin() {
  const about = document.getElementById("about");
  try {
    const content = await (await fetch(new URL("openapi.json", root))).json();
    const groups = content.tags.map((tag) => group(content, tag));
    const schemas = Object.entries(content.components.schemas).map(([name, one]) => schema(name, one));
    document.getElementById("operations").append(...groups);
    document.getElementById("schemas").append(element("h2", "Headers"), headers(content), element("h2", "Schemas"), ...schemas);
    about.after(prose("p", content.info.description));
    about.textContent = `${content.info.summary} Version ${content.info.version}.`;
  } catch (error) {
    about.textContent = `The document cannot be read: ${error.message}`;
  }
}

begin();
