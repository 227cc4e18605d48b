// node push.js PORT EVENT MARK INTERVAL: send the event in the file EVENT to every client, each INTERVAL seconds, one
// Buffer written to each response. MARK stands in the event for the time in ms.
"use strict";
const { createServer } = require("http");
const { readFileSync } = require("fs");

const [port, file, mark, interval] = process.argv.slice(2);
const event = readFileSync(file, "utf8");
const head = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };
const backlog = 4096;
const responses = new Set();

createServer((request, response) => {
  response.writeHead(200, head);
  response.flushHeaders();
  responses.add(response);
  response.on("close", () => responses.delete(response));
}).listen(Number(port), "127.0.0.1", backlog);

setInterval(() => {
  const bytes = Buffer.from(event.replaceAll(mark, String(Date.now())));
  for (const response of responses) response.write(bytes);
}, Number(interval) * 1000);
