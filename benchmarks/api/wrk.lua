-- Each request takes the next line of the file; at the end one line of JSON.
local bodies, at = {}, 0
for line in io.lines(os.getenv("BENCH_BODIES")) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json"}

request = function()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "wall_s": %.6f, "non_2xx": %d, "failed": %d, "ms": {"50": %.3f, "95": %.3f, "99": %.3f}}\n',
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
