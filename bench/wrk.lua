-- wrk's script. FRESH_HEADS=1: no request has the bytes of another. PATHS=FILE: ask for each line's path in turn.
-- Without either, wrk sends one prepared request for ever. `done` writes what was measured as one line of JSON.
local paths, fresh = os.getenv("PATHS"), os.getenv("FRESH_HEADS")

if fresh then
  local count = os.time() * 1048576
  local head = nil
  request = function()
    head = head or wrk.format():sub(1, -3) .. "X-Request-ID: "
    count = count + 1
    return head .. string.format("%016x", count) .. "\r\n\r\n"
  end
elseif paths then
  local requests, at = {}, 0
  init = function()
    for path in io.lines(paths) do requests[#requests + 1] = wrk.format("GET", path) end
  end
  request = function()
    at = at % #requests + 1
    return requests[at]
  end
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'measured {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "slowest_ms": %.3f, ' ..
    '"failed": %d, "not_2xx": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
